import { createHash } from 'node:crypto'

const BUFFER_BYTES = 65_536
/** UTF-8 takes at most so many bytes for one unit of a string. */
const UNIT_BYTES_MAX = 3

/** SHA-256 over everything that happened, gathered before it is hashed: most that happens is a few bytes. */
export class Trace {
  readonly #hash = createHash('sha256')
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  #length = 0

  text(text: string): void {
    if (text.length * UNIT_BYTES_MAX > BUFFER_BYTES) return this.bytes(Buffer.from(text))
    this.#reserve(text.length * UNIT_BYTES_MAX)
    this.#length += this.#buffer.write(text, this.#length)
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    if (bytes.length > BUFFER_BYTES) this.#hash.update(bytes)
    else {
      this.#buffer.set(bytes, this.#length)
      this.#length += bytes.length
    }
  }

  get digest(): string {
    this.#flush()
    return this.#hash.copy().digest('hex')
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes > BUFFER_BYTES) this.#flush()
  }

  #flush(): void {
    this.#hash.update(this.#buffer.subarray(0, this.#length))
    this.#length = 0
  }
}
