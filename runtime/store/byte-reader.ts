import { PROTOCOL_LIMITS } from '../base/limits.ts'
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
