import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MarramError } from '../../base/errors.ts'
import { readLines } from '../../http/lines.ts'
import type { StatusView } from '../../ports/operations.ts'
import { initGateway, joinGateway } from '../../setup.ts'
import { clientOf, type Client } from '../client.ts'
import { Cable } from './proxy.ts'

/** One gateway of the demonstration: its own process, folder and port. */
export interface DemoGateway {
  readonly name: string
  readonly peerId: string
  readonly pid: number
  readonly port: number
  readonly client: Client
  status(): Promise<StatusView>
}

const NAMES = ['greenhouse', 'plant-room', 'shop']
const READY_MS = 20_000

/** Three gateways in a line, the neighbours joined by cables that can be cut. */
export class DemoMesh {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'marram-demo-'))
  readonly gateways: DemoGateway[] = []
  readonly cables: Cable[] = []
  readonly #processes: ChildProcess[] = []

  async start(): Promise<void> {
    const founder = join(this.folder, NAMES[0] as string)
    initGateway({ dir: founder, mesh: 'demo' })
    await this.#run(founder, NAMES[0] as string, null)
    for (const name of NAMES.slice(1)) {
      const dir = join(this.folder, name)
      const invite = (await (this.gateways[0] as DemoGateway).client.json('POST', 'invites', {})) as { token: string }
      joinGateway({ dir, token: invite.token })
      const cable = await Cable.lay((this.gateways.at(-1) as DemoGateway).port)
      this.cables.push(cable)
      await this.#run(dir, name, cable.port)
    }
  }

  /** No process and no folder is left. */
  async stop(): Promise<void> {
    const ended = this.#processes.map((child) =>
      child.exitCode === null && child.signalCode === null ? once(child, 'exit') : Promise.resolve([]),
    )
    for (const child of this.#processes) child.kill('SIGTERM')
    const impatient = setTimeout(() => this.kill(), 5_000)
    await Promise.all(ended)
    clearTimeout(impatient)
    for (const cable of this.cables) cable.remove()
    rmSync(this.folder, { recursive: true, force: true })
  }

  kill(): void {
    for (const child of this.#processes) child.kill('SIGKILL')
  }

  async #run(dir: string, name: string, cablePort: number | null): Promise<void> {
    const settings = ['broker.listen=["mqtt://127.0.0.1:0"]', `node.name=${name}`]
    if (cablePort !== null) settings.push(`mesh.bootstrap=["mqtt://127.0.0.1:${cablePort}"]`)
    const main = join(import.meta.dirname, '../main.js')
    const child = spawn(
      process.execPath,
      [main, 'run', '--json', '--dir', dir, ...settings.flatMap((setting) => ['--set', setting])],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
        // All of them have the clock of this machine.
        env: { ...process.env, MARRAM_TRUST_CLOCK: '1' },
        // Ctrl-C is for the demonstration, which then stops its gateways in order.
        detached: true,
      },
    )
    this.#processes.push(child)
    const { peerId, listeners } = await readyOf(child)
    const client = clientOf(dir)
    const status = (): Promise<StatusView> => client.json('GET', 'status') as Promise<StatusView>
    const port = Number(new URL(listeners[0] as string).port)
    this.gateways.push({ name, peerId, pid: child.pid ?? 0, port, client, status })
  }
}

/** Reads the log until the gateway says that it is ready; goes on reading so that the gateway is never held up. */
async function readyOf(child: ChildProcess): Promise<{ peerId: string; listeners: string[] }> {
  const stdout = child.stdout
  if (!stdout) throw new MarramError('storage-io', 'Cannot read the log of a gateway')
  const impatient = setTimeout(() => child.kill('SIGKILL'), READY_MS)
  const lines = readLines(stdout as AsyncIterable<Buffer>, 1_048_576)
  for (let next = await lines.next(); !next.done; next = await lines.next()) {
    const line = JSON.parse(next.value.toString()) as { event: string; peerId: string; listeners: string[] }
    if (line.event !== 'ready') continue
    clearTimeout(impatient)
    void drain(lines)
    return line
  }
  throw new MarramError('storage-io', 'Cannot start a gateway of the demonstration: it ended before it was ready')
}

async function drain(lines: AsyncGenerator<Buffer>): Promise<void> {
  try {
    for await (const _ of lines) continue
  } catch {
    // The gateway was killed in the middle of a line.
  }
}
