import { isUtf8 } from 'node:buffer'
import { fail, ok, type Result } from '../base/result.ts'

/**
 * Looks at CBOR before a decoder does, so that nothing a decoder does with strange input is ever reached: definite
 * lengths, no tags, only false, true and null of the simple values, finite floats, integers within 2^53 - 1, valid UTF-8,
 * map keys that are distinct texts and not `__proto__`, bounded depth and number of items, nothing beyond the bytes there
 * are. One pass, not recursive, no allocation but for the keys of maps.
 */
export interface ScanLimits {
  readonly depthMax: number
  readonly itemsMax: number
  /** Any number of items one after the other (RFC 8742), not exactly one. */
  readonly isSequence: boolean
}

const INTEGER_HIGH_MAX = 0x1fffff
const TEXT_DECODER = new TextDecoder()

export function scan(bytes: Uint8Array, limits: ScanLimits): Result<void> {
  const fault = new Scan(bytes, limits).run()
  return fault === null ? ok(undefined) : fail('bad-request', fault)
}

class Scan {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #limits: ScanLimits
  #at = 0
  #items = 0
  /** Items still to come at each level of nesting; for a map, keys and values together. */
  readonly #open: number[] = []
  /** The keys seen so far of the map at each level, or null where it is an array. */
  readonly #keys: (Set<string> | null)[] = []

  constructor(bytes: Uint8Array, limits: ScanLimits) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#limits = limits
  }

  /** Null, or what is wrong. */
  run(): string | null {
    while (this.#at < this.#bytes.length) {
      if (this.#open.length === 0 && this.#items > 0 && !this.#limits.isSequence) return 'there are bytes after the end'
      if (++this.#items > this.#limits.itemsMax) return `it has more than ${this.#limits.itemsMax} items`
      const fault = this.#item()
      if (fault !== null) return fault
    }
    if (this.#open.length > 0 || this.#items === 0) return 'it is cut short'
    return null
  }

  #item(): string | null {
    const depth = this.#open.length
    const keys = depth > 0 ? (this.#keys[depth - 1] as Set<string> | null) : null
    // What is left of a map is even where a key comes.
    const isKey = keys !== null && (this.#open[depth - 1] as number) % 2 === 0
    const first = this.#bytes[this.#at] as number
    const major = first >> 5
    if (isKey && major !== 3) return 'a map key must be a text'
    if (depth > 0) (this.#open[depth - 1] as number) -= 1
    this.#at += 1
    if (major === 7) return this.#simple(first) ?? this.#close()
    if (major === 6) return 'tags are not allowed'
    const length = this.#argument(first & 31)
    if (length < 0) return 'a length must be definite and within 2^53 - 1'
    if (major <= 1) return this.#at > this.#bytes.length ? 'it is cut short' : this.#close()
    if (major <= 3) return this.#string(major === 3, length, isKey ? keys : null) ?? this.#close()
    return this.#container(major === 5, length) ?? this.#close()
  }

  /** Ends every level that has nothing left to come. */
  #close(): null {
    while (this.#open.at(-1) === 0) {
      this.#open.pop()
      this.#keys.pop()
    }
    return null
  }

  #container(isMap: boolean, length: number): string | null {
    const count = isMap ? length * 2 : length
    if (count > this.#bytes.length - this.#at) return 'it is cut short'
    if (this.#open.length >= this.#limits.depthMax) return `it is nested deeper than ${this.#limits.depthMax}`
    this.#open.push(count)
    this.#keys.push(isMap ? new Set() : null)
    return null
  }

  #string(isText: boolean, length: number, keys: Set<string> | null): string | null {
    const from = this.#at
    const to = from + length
    if (to > this.#bytes.length) return 'it is cut short'
    this.#at = to
    if (!isText) return null
    if (!this.#isUtf8(from, to)) return 'a text is not UTF-8'
    if (keys === null) return null
    const key = TEXT_DECODER.decode(this.#bytes.subarray(from, to))
    if (key === '__proto__' || keys.has(key))
      return key === '__proto__' ? 'a map has a key "__proto__"' : 'a map has a key twice'
    keys.add(key)
    return null
  }

  #isUtf8(from: number, to: number): boolean {
    for (let i = from; i < to; i++) if ((this.#bytes[i] as number) >= 0x80) return isUtf8(this.#bytes.subarray(i, to))
    return true
  }

  #simple(first: number): string | null {
    if (first >= 0xf4 && first <= 0xf6) return null
    const width = first === 0xf9 ? 2 : first === 0xfa ? 4 : first === 0xfb ? 8 : 0
    if (width === 0) return 'only false, true and null are allowed'
    const at = this.#at
    this.#at += width
    if (this.#at > this.#bytes.length) return 'it is cut short'
    // Exponents of all ones are infinities and not-a-numbers (RFC 8949 3.3, IEEE 754).
    const isFinite =
      width === 2
        ? (this.#view.getUint16(at) & 0x7c00) !== 0x7c00
        : Number.isFinite(width === 4 ? this.#view.getFloat32(at) : this.#view.getFloat64(at))
    return isFinite ? null : 'a number is not finite'
  }

  /** The value of a head's argument, or -1. */
  #argument(info: number): number {
    if (info < 24) return info
    const width = info === 24 ? 1 : info === 25 ? 2 : info === 26 ? 4 : info === 27 ? 8 : 0
    const at = this.#at
    if (width === 0 || at + width > this.#bytes.length) return -1
    this.#at += width
    if (width === 1) return this.#view.getUint8(at)
    if (width === 2) return this.#view.getUint16(at)
    if (width === 4) return this.#view.getUint32(at)
    const high = this.#view.getUint32(at)
    return high > INTEGER_HIGH_MAX ? -1 : high * 2 ** 32 + this.#view.getUint32(at + 4)
  }
}
