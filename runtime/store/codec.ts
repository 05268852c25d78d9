import { PROTOCOL_LIMITS } from '../base/limits.ts'
import type { Value } from '../model/value.ts'

/**
 * The store's own encoding: what it writes to its disk and what it hashes. Lengths and integers are LEB128 (7 bits a byte,
 * low ones first); a value is a tag and what the tag says. Made for speed and for one reader: it never leaves the machine.
 */

const TAG_NULL = 0
const TAG_FALSE = 1
const TAG_TRUE = 2
const TAG_NATURAL = 3
const TAG_NEGATIVE = 4
const TAG_FLOAT = 5
const TAG_TEXT = 6
const TAG_BYTES = 7
const TAG_ARRAY = 8
const TAG_OBJECT = 9

/** Longer texts are handed to Buffer: below that the loop over ASCII is faster than the call. */
const SHORT_TEXT = 48

/** Appends to a buffer that grows. The bytes are handed out as views, so a writer is dropped, never reused, after that. */
export class ByteWriter {
  #buffer: Buffer
  #length = 0

  /** `buffer` is what it begins with: from Buffer's pool for bytes soon dropped, of its own for bytes that are kept. */
  constructor(buffer: Buffer) {
    this.#buffer = buffer
  }

  get length(): number {
    return this.#length
  }

  /** A view (no Buffer, whose `slice` does not copy) of what was written from `from` on; later writes may move the buffer but never change these bytes. */
  view(from = 0): Uint8Array {
    return new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset + from, this.#length - from)
  }

  u8(value: number): void {
    this.#reserve(1)
    this.#buffer[this.#length++] = value
  }

  u32(value: number): void {
    this.#reserve(4)
    this.#length = this.#buffer.writeUInt32BE(value, this.#length)
  }

  u48(value: number): void {
    this.#reserve(6)
    this.#length = this.#buffer.writeUIntBE(value, this.#length, 6)
  }

  /** A natural number up to 2^53 - 1. */
  natural(value: number): void {
    this.#reserve(8)
    let rest = value
    while (rest > 0x7fffffff) {
      this.#buffer[this.#length++] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    while (rest > 0x7f) {
      this.#buffer[this.#length++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#buffer[this.#length++] = rest
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
  }

  bytes(bytes: Uint8Array): void {
    this.natural(bytes.length)
    this.raw(bytes)
  }

  text(text: string): void {
    if (text.length > SHORT_TEXT || !this.#shortAscii(text)) this.#longText(text)
  }

  /** JSON and byte strings. `isCanonical` sorts the keys of objects, in the order of their UTF-16 units (as RFC 8785 does). */
  value(value: Value, isCanonical: boolean): void {
    if (typeof value === 'string') {
      this.u8(TAG_TEXT)
      this.text(value)
    } else if (typeof value === 'number') this.#number(value)
    else if (value === null) this.u8(TAG_NULL)
    else if (typeof value === 'boolean') this.u8(value ? TAG_TRUE : TAG_FALSE)
    else if (value instanceof Uint8Array) {
      this.u8(TAG_BYTES)
      this.bytes(value)
    } else if (isArray(value)) {
      this.u8(TAG_ARRAY)
      this.natural(value.length)
      for (const item of value) this.value(item, isCanonical)
    } else this.#object(value, isCanonical)
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value)) {
      this.u8(TAG_FLOAT)
      this.#reserve(8)
      this.#length = this.#buffer.writeDoubleBE(value, this.#length)
    } else {
      this.u8(value < 0 ? TAG_NEGATIVE : TAG_NATURAL)
      this.natural(Math.abs(value))
    }
  }

  #object(value: { readonly [key: string]: Value }, isCanonical: boolean): void {
    const keys = Object.keys(value)
    if (isCanonical) keys.sort()
    this.u8(TAG_OBJECT)
    this.natural(keys.length)
    for (const key of keys) {
      this.text(key)
      this.value(value[key] as Value, isCanonical)
    }
  }

  #shortAscii(text: string): boolean {
    this.#reserve(1 + text.length)
    const buffer = this.#buffer
    const at = this.#length + 1
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      if (unit > 0x7f) return false
      buffer[at + i] = unit
    }
    buffer[this.#length] = text.length
    this.#length = at + text.length
    return true
  }

  #longText(text: string): void {
    const length = Buffer.byteLength(text)
    this.natural(length)
    this.#reserve(length)
    this.#length += this.#buffer.write(text, this.#length, length, 'utf8')
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#length + bytes))
    grown.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = grown
  }
}

/** Reads what a ByteWriter wrote. Throws RangeError on anything else: its callers turn that into a Result. */
export class ByteReader {
  readonly #buffer: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.#at === this.#buffer.length
  }

  u8(): number {
    return this.#buffer[this.#take(1)] as number
  }

  u32(): number {
    return this.#buffer.readUInt32BE(this.#take(4))
  }

  u48(): number {
    return this.#buffer.readUIntBE(this.#take(6), 6)
  }

  natural(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      if (!Number.isSafeInteger(value)) throw new RangeError('a number has more than 53 bits')
      if (byte < 0x80) return value
    }
  }

  /** A view of the reader's bytes. */
  raw(length: number): Uint8Array {
    const from = this.#take(length)
    return this.#buffer.subarray(from, from + length)
  }

  /** A view of the reader's bytes. */
  bytes(): Uint8Array {
    return this.raw(this.natural())
  }

  text(): string {
    const length = this.natural()
    const from = this.#take(length)
    return this.#buffer.toString('utf8', from, from + length)
  }

  value(depth = 0): Value {
    if (depth > PROTOCOL_LIMITS.valueDepthMax) throw new RangeError('a value is nested too deep')
    const tag = this.u8()
    switch (tag) {
      case TAG_NULL:
        return null
      case TAG_FALSE:
        return false
      case TAG_TRUE:
        return true
      case TAG_NATURAL:
        return this.natural()
      case TAG_NEGATIVE:
        return -this.natural()
      case TAG_FLOAT:
        return this.#buffer.readDoubleBE(this.#take(8))
      case TAG_TEXT:
        return this.text()
      case TAG_BYTES:
        return Uint8Array.from(this.bytes())
      case TAG_ARRAY:
        return this.#array(depth)
      case TAG_OBJECT:
        return this.#object(depth)
      default:
        throw new RangeError(`a value has the unknown tag ${tag}`)
    }
  }

  #array(depth: number): Value {
    const length = this.#count()
    const items: Value[] = []
    for (let i = 0; i < length; i++) items.push(this.value(depth + 1))
    return items
  }

  #object(depth: number): Value {
    const length = this.#count()
    const fields: { [key: string]: Value } = {}
    for (let i = 0; i < length; i++) {
      const key = this.text()
      fields[key] = this.value(depth + 1)
    }
    return fields
  }

  /** Every item takes at least a byte, so a greater count is damage and must not cost memory. */
  #count(): number {
    const count = this.natural()
    if (count > this.#buffer.length - this.#at) throw new RangeError('a count is greater than the bytes left')
    return count
  }

  #take(length: number): number {
    const from = this.#at
    if (length > this.#buffer.length - from) throw new RangeError('the bytes end too early')
    this.#at = from + length
    return from
  }
}

function isArray(value: Value): value is readonly Value[] {
  return Array.isArray(value)
}
