import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'

/** Real gateways for tests: each its own process, data directory and free port, driven by the command line as users do. */

const MAIN = join(import.meta.dirname, '../../runtime/cli/main.js')
/** A bound for a gateway that hangs, no expectation: it takes a second of a core's time, which a busy machine may not have. */
const READY_MS = 120_000

export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export function marram(...args: readonly string[]): Promise<CommandResult> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, stdout, stderr })
    })
  })
}

/** A folder that is gone when the tests are over: not before, for something may be mounted in it until then. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'marram-test-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export interface StartOptions {
  readonly bootstrap?: readonly string[]
  readonly port?: number
  readonly set?: readonly string[]
  /** The address it listens on, 127.0.0.1 when not given. */
  readonly host?: string
  readonly protocol?: 'mqtt' | 'mqtts'
  /** The command and its arguments that run it, such as `ip netns exec NAME`. */
  readonly within?: readonly string[]
  /** Its system's clock is so far off, in milliseconds; nothing vouches for it unless `isClockTrusted`. */
  readonly clockOffMs?: number
  readonly isClockTrusted?: boolean
  /** Ctrl-C is then for whoever started it. */
  readonly detached?: boolean
}

export class GatewayProcess {
  readonly dir: string
  readonly lines: { readonly event: string; readonly [name: string]: unknown }[] = []
  port = 0
  #child: ChildProcess | null = null

  constructor(dir: string) {
    this.dir = dir
  }

  get address(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Resolves when it serves. Keeps its port from one start to the next. */
  async start(options: StartOptions = {}): Promise<void> {
    const { protocol = 'mqtt', host = '127.0.0.1', port = this.port } = options
    const settings = [`broker.listen=["${protocol}://${host}:${port}"]`]
    settings.push(...(options.set ?? []))
    if (options.bootstrap) settings.push(`mesh.bootstrap=${JSON.stringify(options.bootstrap)}`)
    const within = [...(options.within ?? []), process.execPath, MAIN]
    const args = [
      ...within.slice(1),
      'run',
      '--json',
      '--dir',
      this.dir,
      ...settings.flatMap((setting) => ['--set', setting]),
    ]
    const child = spawn(within[0] as string, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      // One clock for all of them, whatever the machine knows of it.
      env: { ...process.env, ...clockOf(options) },
      detached: options.detached ?? false,
    })
    this.#child = child
    const ready = new Promise<number>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`The gateway in ${this.dir} was not ready in time`)), READY_MS)
      child.once('exit', (code) => {
        clearTimeout(timer)
        reject(new Error(`The gateway in ${this.dir} ended with ${code} before it was ready`))
      })
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (text) => {
        const line = JSON.parse(text) as { event: string; listeners: string[] }
        this.lines.push(line)
        if (line.event !== 'ready') return
        clearTimeout(timer)
        resolve(Number(new URL(line.listeners[0] as string).port))
      })
    })
    this.port = await ready
  }

  /** Ends it; resolves with its exit code when it is gone. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
    return child.exitCode
  }

  /** A command on this gateway that must succeed; its output. */
  async run(...args: readonly string[]): Promise<string> {
    const result = await marram(...args, '--dir', this.dir)
    if (result.code !== 0) throw new Error(`marram ${args.join(' ')} ended with ${result.code}: ${result.stderr}`)
    return result.stdout.trim()
  }

  async json<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.run(...args, '--json')) as T
  }

  async digest(): Promise<string> {
    return JSON.stringify(await this.json('digest'))
  }
}

function clockOf({ clockOffMs = 0, isClockTrusted = clockOffMs === 0 }: StartOptions): NodeJS.ProcessEnv {
  const trust = { MARRAM_TRUST_CLOCK: isClockTrusted ? '1' : '0' }
  if (clockOffMs === 0) return trust
  const script = `const now = Date.now; Date.now = () => now() + ${clockOffMs}`
  return { ...trust, NODE_OPTIONS: `--import="data:text/javascript,${encodeURIComponent(script)}"` }
}

/** One that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** A founding gateway that serves. */
export async function found(
  t: TestContext,
  folder: string,
  name: string,
  options: StartOptions = {},
): Promise<GatewayProcess> {
  const gateway = new GatewayProcess(join(folder, name))
  t.after(() => gateway.stop('SIGKILL'))
  await gateway.run('init', '--mesh', 'test')
  await gateway.start(options)
  return gateway
}

/** Another one, invited by `host`, enrolled. */
export async function joined(
  t: TestContext,
  folder: string,
  name: string,
  host: GatewayProcess,
  options: StartOptions = {},
): Promise<GatewayProcess> {
  const gateway = new GatewayProcess(join(folder, name))
  t.after(() => gateway.stop('SIGKILL'))
  const { token } = await host.json<{ token: string }>('invite')
  await gateway.run('join', token)
  await gateway.start(options)
  await until(`${name} is enrolled`, async () => (await gateway.json<{ enrolled: boolean }>('status')).enrolled)
  return gateway
}

/** Waits for a condition; fails with its name. The time is a bound for a broken build, no expectation. */
export async function until(what: string, isTrue: () => Promise<boolean> | boolean, ms = 30_000): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`It did not come about in ${ms} ms that ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

export async function untilEqual(a: GatewayProcess, ...others: readonly GatewayProcess[]): Promise<void> {
  await until('the digests are equal', async () => {
    const digest = await a.digest()
    for (const other of others) if ((await other.digest()) !== digest) return false
    return true
  })
}
