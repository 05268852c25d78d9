import type { IncomingMessage } from 'node:http'
import { MarramError } from '../base/errors.ts'

/** The whole body as text, bounded in bytes. */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > bytesMax) throw new MarramError('too-large', `Cannot read the request: it is over ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** The lines of a stream of text, without their ends; each bounded in bytes. */
export async function* readLines(stream: AsyncIterable<Buffer>, bytesMax: number): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of stream) {
    let data = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
    for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10)) {
      yield data.toString('utf8', 0, end).replace(/\r$/, '')
      data = data.subarray(end + 1)
    }
    if (data.length > bytesMax) throw new MarramError('too-large', `Cannot read a line: it is over ${bytesMax} bytes`)
    rest = data
  }
  if (rest.length > 0) yield rest.toString('utf8')
}
