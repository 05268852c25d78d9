import { isUtf8 } from 'node:buffer'
import { MarramError } from '../base/errors.ts'

type Bytes = AsyncIterable<Uint8Array>

const LINE_END = 10
const CARRIAGE_RETURN = 13

/** The whole stream as text. Throws `too-large`, and `bad-request` for what is no UTF-8. */
export async function readBody(stream: Bytes, bytesMax: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of stream) {
    bytes += chunk.length
    if (bytes > bytesMax) throw new MarramError('too-large', `Cannot read the body: it is over ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  const body = Buffer.concat(chunks)
  if (!isUtf8(body)) throw new MarramError('bad-request', 'Cannot read the body: it must be UTF-8')
  return body.toString('utf8')
}

/**
 * The lines of a stream, without their ends. A line over `bytesMax` is cut somewhere behind that, so that its length tells;
 * the rest of it is passed over.
 */
export async function* readLines(stream: Bytes, bytesMax: number): AsyncGenerator<Buffer> {
  const line = new OpenLine(bytesMax)
  for await (const chunk of stream) {
    let start = 0
    for (let end = chunk.indexOf(LINE_END); end >= 0; end = chunk.indexOf(LINE_END, start)) {
      line.add(chunk.subarray(start, end))
      yield line.take()
      start = end + 1
    }
    line.add(chunk.subarray(start))
  }
  if (line.bytes > 0) yield line.take()
}

/** A line whose end has not come yet. */
class OpenLine {
  readonly #bytesMax: number
  #parts: Uint8Array[] = []
  bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  add(part: Uint8Array): void {
    if (part.length === 0 || this.bytes > this.#bytesMax) return
    this.#parts.push(part)
    this.bytes += part.length
  }

  take(): Buffer {
    const line = Buffer.concat(this.#parts)
    this.#parts = []
    this.bytes = 0
    return line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line
  }
}
