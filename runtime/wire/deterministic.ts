import { equal } from '../base/bytes.ts'
import { fail, ok, type Result } from '../base/result.ts'

/** CBOR in the core deterministic encoding (RFC 8949 4.2.1): integers, byte and text strings, arrays, maps with integer keys. */
export type Item = number | string | Uint8Array | boolean | null | readonly Item[] | ReadonlyMap<number, Item>

const DEPTH_MAX = 8

export function encodeDeterministic(item: Item): Uint8Array {
  const writer = new Writer()
  writer.item(item)
  return writer.bytes()
}

/** Accepts only bytes that `encodeDeterministic` would have made. Byte strings are views of `bytes`. */
export function decodeDeterministic(bytes: Uint8Array): Result<Item> {
  const reader = new Reader(bytes)
  try {
    const item = reader.item(0)
    if (reader.offset !== bytes.length) return fail('bad-request', 'there are bytes after the end')
    return equal(encodeDeterministic(item), bytes)
      ? ok(item)
      : fail('bad-request', 'it is not in deterministic encoding')
  } catch (error) {
    if (error instanceof Malformed) return fail('bad-request', error.message)
    throw error
  }
}

class Malformed extends Error {}

class Writer {
  #buffer = new Uint8Array(256)
  #length = 0

  bytes(): Uint8Array {
    return this.#buffer.slice(0, this.#length)
  }

  item(item: Item): void {
    if (typeof item === 'number') {
      if (item >= 0) this.#head(0, item)
      else this.#head(1, -1 - item)
    } else if (typeof item === 'string') {
      const text = new TextEncoder().encode(item)
      this.#head(3, text.length)
      this.#raw(text)
    } else if (typeof item === 'boolean') this.#raw(new Uint8Array([item ? 0xf5 : 0xf4]))
    else if (item === null) this.#raw(new Uint8Array([0xf6]))
    else if (item instanceof Uint8Array) {
      this.#head(2, item.length)
      this.#raw(item)
    } else if (item instanceof Map) this.#map(item)
    else this.#array(item as readonly Item[])
  }

  #array(items: readonly Item[]): void {
    this.#head(4, items.length)
    for (const item of items) this.item(item)
  }

  /** Bytewise order of encoded integer keys: unsigned ascending, then negative towards minus infinity. */
  #map(map: ReadonlyMap<number, Item>): void {
    this.#head(5, map.size)
    const order = (key: number): number => (key >= 0 ? key : 2 ** 53 - key)
    for (const key of [...map.keys()].sort((a, b) => compareEncoded(order, a, b))) {
      this.item(key)
      this.item(map.get(key) as Item)
    }
  }

  #head(major: number, value: number): void {
    const first = major << 5
    if (value < 24) this.#raw(new Uint8Array([first | value]))
    else if (value < 0x100) this.#raw(new Uint8Array([first | 24, value]))
    else if (value < 0x10000) this.#raw(new Uint8Array([first | 25, value >> 8, value & 255]))
    else {
      const isLong = value >= 0x100000000
      const bytes = new Uint8Array(isLong ? 9 : 5)
      const view = new DataView(bytes.buffer)
      bytes[0] = first | (isLong ? 27 : 26)
      if (isLong) view.setBigUint64(1, BigInt(value))
      else view.setUint32(1, value)
      this.#raw(bytes)
    }
  }

  #raw(bytes: Uint8Array): void {
    while (this.#length + bytes.length > this.#buffer.length) {
      const larger = new Uint8Array(this.#buffer.length * 2)
      larger.set(this.#buffer)
      this.#buffer = larger
    }
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
  }
}

function compareEncoded(order: (key: number) => number, a: number, b: number): number {
  return order(a) - order(b)
}

class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  item(depth: number): Item {
    if (depth > DEPTH_MAX) throw new Malformed('it is nested too deep')
    const first = this.#byte()
    const major = first >> 5
    if (major === 7) return this.#simple(first)
    if (major === 6) throw new Malformed('tags are not allowed')
    const value = this.#argument(first & 31)
    switch (major) {
      case 0:
        return value
      case 1:
        return -1 - value
      case 2:
        return this.#take(value)
      case 3:
        return this.#text(this.#take(value))
      case 4:
        return this.#array(value, depth)
      default:
        return this.#map(value, depth)
    }
  }

  #array(length: number, depth: number): Item[] {
    this.#checkCount(length)
    return Array.from({ length }, () => this.item(depth + 1))
  }

  #map(length: number, depth: number): Map<number, Item> {
    this.#checkCount(length)
    const map = new Map<number, Item>()
    for (let i = 0; i < length; i++) {
      const key = this.item(depth + 1)
      if (typeof key !== 'number' || map.has(key)) throw new Malformed('map keys must be distinct integers')
      map.set(key, this.item(depth + 1))
    }
    return map
  }

  #simple(first: number): Item {
    if (first === 0xf4) return false
    if (first === 0xf5) return true
    if (first === 0xf6) return null
    throw new Malformed('only false, true and null are allowed')
  }

  #text(bytes: Uint8Array): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    } catch {
      throw new Malformed('a text is not UTF-8')
    }
  }

  #checkCount(count: number): void {
    if (count > this.#bytes.length - this.offset) throw new Malformed('it is cut short')
  }

  #take(length: number): Uint8Array {
    this.#checkCount(length)
    this.offset += length
    return this.#bytes.subarray(this.offset - length, this.offset)
  }

  #byte(): number {
    if (this.offset >= this.#bytes.length) throw new Malformed('it is cut short')
    return this.#bytes[this.offset++] as number
  }

  #argument(info: number): number {
    if (info < 24) return info
    const width = info === 24 ? 1 : info === 25 ? 2 : info === 26 ? 4 : info === 27 ? 8 : 0
    if (width === 0) throw new Malformed('lengths must be definite')
    const at = this.offset
    this.#take(width)
    if (width === 1) return this.#view.getUint8(at)
    if (width === 2) return this.#view.getUint16(at)
    if (width === 4) return this.#view.getUint32(at)
    const value = Number(this.#view.getBigUint64(at))
    if (!Number.isSafeInteger(value)) throw new Malformed('an integer is over 2^53 - 1')
    return value
  }
}
