import type { Value } from '../model/value.ts'
import {
  TAG_NULL,
  TAG_FALSE,
  TAG_TRUE,
  TAG_NATURAL,
  TAG_NEGATIVE,
  TAG_FLOAT,
  TAG_TEXT,
  TAG_BYTES,
  TAG_ARRAY,
  TAG_OBJECT,
} from './codec.ts'

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

function isArray(value: Value): value is readonly Value[] {
  return Array.isArray(value)
}
