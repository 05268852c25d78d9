/** What a frame tells of heads and holds of batches: what must be on its sender's disk. */
export interface Promises {
  readonly heads: { readonly seq: number; readonly hash8: Uint8Array }[]
  /** Views of the frame. */
  readonly batches: Uint8Array[]
  /** How often it asks for something, and the greatest credit that it gives. */
  wants: number
  /** First and last sequences of what it asks for by number, of whatever feeds. */
  readonly named: number[]
  credit: number
  /** How many feeds it names. */
  feeds: number
}

const HELLO = 0
const FEED = 1
const HAVE = 2
const WANT = 3
const DATA = 4
const ACK = 5
/** Where in a message the credit stands. */
const CREDIT_AT: { readonly [type: number]: number } = { [HELLO]: 8, [ACK]: 2 }

/** A frame is looked at when it is sent, and again when it arrives. */
const framesRead = new WeakMap<Uint8Array, Promises | null>()

/**
 * Reads just that from the grammar in runtime/wire/message.ts, for this is done with every frame that is sent: whether the rest
 * of it is well-formed its receiver says. Null when it can't be read.
 */
export function promisesOf(frame: Uint8Array): Promises | null {
  const known = framesRead.get(frame)
  if (known !== undefined) return known
  const promises = new FrameReader(frame).read()
  framesRead.set(frame, promises)
  return promises
}

class FrameReader {
  readonly #bytes: Uint8Array
  readonly #promises: Promises = { heads: [], batches: [], wants: 0, named: [], credit: 0, feeds: 0 }
  #at = 0
  #major = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  read(): Promises | null {
    while (this.#at < this.#bytes.length) {
      const elements = this.#open()
      const type = this.#head()
      if (type === HAVE) this.#readHeads()
      else if (type === DATA) this.#readBatches()
      else if (type === WANT) this.#readWants()
      else if (type === FEED) this.#promises.feeds += 1
      for (let i = type === HAVE || type === DATA || type === WANT ? 2 : 1; i < elements; i++) {
        if (i === CREDIT_AT[type]) this.#promises.credit = Math.max(this.#promises.credit, this.#head())
        else this.#skip()
      }
    }
    return this.#at === this.#bytes.length ? this.#promises : null
  }

  #readHeads(): void {
    for (let left = this.#open(); left > 0; left--) {
      const elements = this.#open()
      this.#head()
      const seq = this.#head()
      const hash8 = this.#take(this.#head())
      for (let i = 3; i < elements; i++) this.#skip()
      this.#promises.heads.push({ seq, hash8 })
    }
  }

  #readWants(): void {
    this.#promises.wants += 1
    for (let left = this.#open(); left > 0; left--) {
      const elements = this.#open()
      for (let i = 0; i < Math.min(elements, 3); i++) this.#head()
      if (elements > 3) for (let runs = this.#open(); runs > 0; runs--) this.#promises.named.push(this.#head())
    }
  }

  #readBatches(): void {
    for (let left = this.#open(); left > 0; left--) this.#promises.batches.push(this.#take(this.#head()))
  }

  /** The number of elements of an array; beyond the end of the frame when there is none. */
  #open(): number {
    const length = this.#head()
    if (this.#major !== 4) this.#at = Number.POSITIVE_INFINITY
    return this.#at < this.#bytes.length || length === 0 ? length : 0
  }

  #skip(): void {
    const argument = this.#head()
    if (this.#major === 2 || this.#major === 3) this.#at += argument
    if (this.#major !== 4 && this.#major !== 5) return
    const items = this.#major === 5 ? argument * 2 : argument
    for (let i = 0; i < items && this.#at < this.#bytes.length; i++) this.#skip()
  }

  /** Moves behind the head of an item (RFC 8949 3) and returns its argument. */
  #head(): number {
    const first = this.#bytes[this.#at] ?? 0
    this.#at += 1
    this.#major = first >> 5
    const info = first & 31
    if (info < 24) return info
    const width = 1 << (info - 24)
    let value = 0
    for (let i = 0; i < width; i++) value = value * 256 + (this.#bytes[this.#at + i] ?? 0)
    this.#at += width
    return value
  }

  #take(length: number): Uint8Array {
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}
