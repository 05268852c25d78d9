import { request, type IncomingMessage } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { createControlServer, type ControlServer } from '../../runtime/http/server.ts'
import { socketPathOf } from '../../runtime/http/socket-path.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { FakeOperations } from './fake-operations.ts'

/** A control door before a gateway in memory, gone after the test. */
export interface OpenDoor {
  readonly dir: string
  readonly operations: FakeOperations
  readonly server: ControlServer
}

export async function openDoor(t: TestContext, folder?: string): Promise<OpenDoor> {
  const dir = folder ?? temporaryFolder(t)
  const operations = new FakeOperations()
  const server = await createControlServer({ operations, dir, log: SILENT_LOG })
  t.after(() => server.close())
  return { dir, operations, server }
}

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'marram-door-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export interface Reply {
  readonly status: number
  readonly type: string | undefined
  readonly text: string
}

/** `path` below /api/v1/, sent as it is. */
export async function ask(dir: string, method: string, path: string, body?: string | Buffer): Promise<Reply> {
  const response = await begin(dir, method, path, body)
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString('utf8')
  return { status: response.statusCode ?? 0, type: response.headers['content-type'], text }
}

export function begin(dir: string, method: string, path: string, body?: string | Buffer): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { connection: 'keep-alive' }
    const options = { socketPath: socketPathOf(dir), method, path: `/api/v1/${path}`, agent: false, headers }
    const asked = request(options, resolve)
    asked.once('error', reject)
    // The door may close before the client has noticed that all was sent.
    asked.once('socket', (socket) => socket.on('error', () => {}))
    asked.end(body)
  })
}
