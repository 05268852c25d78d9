import { fail, ok, type Result } from '../base/result.ts'

/** CBOR in the core deterministic encoding (RFC 8949 4.2.1): integers, byte and text strings, arrays, maps with integer keys. */
export type Item = number | string | Uint8Array | boolean | null | readonly Item[] | ReadonlyMap<number, Item>

const DEPTH_MAX = 8
/** The least number that needs so many bytes. */
const SHORTEST = { 1: 24, 2: 0x100, 4: 0x10000, 8: 0x100000000 } as const

export function encodeDeterministic(item: Item): Uint8Array {
  writer.begin()
  writer.item(item)
  return writer.bytes()
}

/** Accepts only bytes that `encodeDeterministic` would have made. Byte strings are views of `bytes`. */
export function decodeDeterministic(bytes: Uint8Array): Result<Item> {
  const reader = new Reader(bytes)
  try {
    const item = reader.item(0)
    return reader.offset === bytes.length ? ok(item) : fail('bad-request', 'there are bytes after the end')
  } catch (error) {
    if (error instanceof Malformed) return fail('bad-request', error.message)
    throw error
  }
}

const textEncoder = new TextEncoder()
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

class Malformed extends Error {}

/** Bytewise order of encoded integer keys: unsigned ascending, then negative towards minus infinity. */
function compareKeys(a: number, b: number): number {
  return a >= 0 && b >= 0 ? a - b : b - a
}

/** One buffer for all that is ever encoded: nothing is encoded while something else is. */
class Writer {
  #buffer = new Uint8Array(65_536)
  #length = 0

  begin(): void {
    this.#length = 0
  }

  bytes(): Uint8Array {
    return this.#buffer.slice(0, this.#length)
  }

  item(item: Item): void {
    if (typeof item === 'number') {
      if (item >= 0) this.#head(0, item)
      else this.#head(1, -1 - item)
    } else if (typeof item === 'string') {
      const text = textEncoder.encode(item)
      this.#head(3, text.length)
      this.#raw(text)
    } else if (typeof item === 'boolean') this.#byte(item ? 0xf5 : 0xf4)
    else if (item === null) this.#byte(0xf6)
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

  #map(map: ReadonlyMap<number, Item>): void {
    this.#head(5, map.size)
    for (const key of [...map.keys()].sort(compareKeys)) {
      this.item(key)
      this.item(map.get(key) as Item)
    }
  }

  #head(major: number, value: number): void {
    const first = major << 5
    if (value < 24) return this.#byte(first | value)
    if (value < 0x100) return this.#number(first | 24, value, 1)
    if (value < 0x10000) return this.#number(first | 25, value, 2)
    if (value < 0x100000000) return this.#number(first | 26, value, 4)
    this.#number(first | 27, Math.floor(value / 0x100000000), 4)
    this.#bigEndian(value % 0x100000000, 4)
  }

  #number(first: number, value: number, width: number): void {
    this.#byte(first)
    this.#bigEndian(value, width)
  }

  #bigEndian(value: number, width: number): void {
    for (let shift = (width - 1) * 8; shift >= 0; shift -= 8) this.#byte((value >>> shift) & 255)
  }

  #byte(byte: number): void {
    this.#reserve(1)
    this.#buffer[this.#length++] = byte
  }

  #raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return
    const larger = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length + bytes))
    larger.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = larger
  }
}

const writer = new Writer()

class Reader {
  readonly #bytes: Uint8Array
  offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
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
    const items: Item[] = []
    for (let i = 0; i < length; i++) items.push(this.item(depth + 1))
    return items
  }

  #map(length: number, depth: number): Map<number, Item> {
    this.#checkCount(length)
    const map = new Map<number, Item>()
    let last: number | null = null
    for (let i = 0; i < length; i++) {
      const key = this.item(depth + 1)
      if (typeof key !== 'number') throw new Malformed('map keys must be integers')
      if (last !== null && compareKeys(last, key) >= 0) throw new Malformed('map keys must be distinct and in order')
      last = key
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
      return textDecoder.decode(bytes)
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
    this.#checkCount(width)
    this.offset += width
    const value = this.#numberAt(at, width)
    if (value < SHORTEST[width]) throw new Malformed('a number is not in its shortest form')
    if (!Number.isSafeInteger(value)) throw new Malformed('an integer is over 2^53 - 1')
    return value
  }

  /** Beyond 2^53 it is not exact, but beyond it all the same. */
  #numberAt(at: number, width: number): number {
    let value = 0
    for (let i = at; i < at + width; i++) value = value * 256 + (this.#bytes[i] as number)
    return value
  }
}
