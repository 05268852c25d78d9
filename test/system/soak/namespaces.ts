import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Why this machine has no network namespaces to offer, or null. */
export function namespacesMissing(): string | null {
  if (process.getuid?.() !== 0) return 'Cannot make network namespaces: this is not root, run it as root'
  for (const [tool, args, from] of [
    ['ip', ['-V'], 'iproute2'],
    ['tc', ['-V'], 'iproute2'],
    ['nft', ['--version'], 'nftables'],
  ] as const) {
    try {
      execFileSync(tool, args, { stdio: 'ignore' })
    } catch {
      return `Cannot make network namespaces: "${tool}" is missing, install the package ${from}`
    }
  }
  return null
}

/** A switch with a network namespace for each gateway at it, whose line can lose packets, be slow, or be down. */
export class Namespaces {
  /** Of this process alone, so that two soaks do not meet; an interface's name has at most 15 characters. */
  readonly #name: string = `mm${process.pid}`
  readonly #subnet: string = `10.${64 + ((process.pid >> 8) % 128)}.${process.pid % 256}`
  readonly #count: number

  constructor(count: number) {
    this.#count = count
  }

  async add(): Promise<void> {
    await run('ip', ['link', 'add', this.#name, 'type', 'bridge'])
    await run('ip', ['addr', 'add', `${this.#subnet}.254/24`, 'dev', this.#name])
    await run('ip', ['link', 'set', this.#name, 'up'])
    for (let i = 0; i < this.#count; i++) await this.#addOne(i)
  }

  /** The address of this machine at the switch. */
  get gateway(): string {
    return `${this.#subnet}.254`
  }

  host(i: number): string {
    return `${this.#subnet}.${i + 1}`
  }

  within(i: number): string[] {
    return ['ip', 'netns', 'exec', this.#of(i)]
  }

  /** Of what arrives so many packets in a hundred are lost; 0 loses none. */
  async setLoss(i: number, percent: number): Promise<void> {
    const flush =
      'add table inet soak; flush table inet soak; add chain inet soak in { type filter hook input priority 0; }'
    const drop = `add rule inet soak in iifname "eth0" numgen random mod 100 < ${percent} drop`
    await this.#exec(i, 'nft', percent > 0 ? `${flush}; ${drop}` : flush)
  }

  /** Null is as fast as the machine. */
  async setRate(i: number, kbit: number | null): Promise<void> {
    const qdisc = ['qdisc', kbit === null ? 'del' : 'replace', 'dev', 'eth0', 'root']
    if (kbit !== null) qdisc.push('tbf', 'rate', `${kbit}kbit`, 'burst', '16kb', 'latency', '400ms')
    await this.#exec(i, 'tc', ...qdisc)
  }

  async setDown(i: number, isDown: boolean): Promise<void> {
    await this.#exec(i, 'ip', 'link', 'set', 'eth0', isDown ? 'down' : 'up')
  }

  /** Takes these lines out of the switch and into another one, where they reach each other and nobody else; none heals it. */
  async cut(lines: readonly number[]): Promise<void> {
    tolerate(() => execFileSync('ip', ['link', 'add', `${this.#name}x`, 'type', 'bridge'], SILENT))
    await run('ip', ['link', 'set', `${this.#name}x`, 'up'])
    for (let i = 0; i < this.#count; i++) {
      const master = lines.includes(i) ? `${this.#name}x` : this.#name
      await run('ip', ['link', 'set', this.#of(i), 'master', master])
    }
  }

  /** Whatever of it there is; its processes must have ended. */
  remove(): void {
    for (let i = 0; i < this.#count; i++) {
      // The kernel takes its time with a namespace and what is in it, and the next test uses the names again.
      tolerate(() => execFileSync('ip', ['link', 'del', this.#of(i)], SILENT))
      tolerate(() => execFileSync('ip', ['netns', 'del', this.#of(i)], SILENT))
    }
    for (const bridge of [this.#name, `${this.#name}x`])
      tolerate(() => execFileSync('ip', ['link', 'del', bridge], SILENT))
  }

  async #addOne(i: number): Promise<void> {
    const port = this.#of(i)
    await run('ip', ['netns', 'add', port])
    await run('ip', ['link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', port])
    await run('ip', ['link', 'set', port, 'master', this.#name, 'up'])
    await this.#exec(i, 'ip', 'addr', 'add', `${this.host(i)}/24`, 'dev', 'eth0')
    await this.#exec(i, 'ip', 'link', 'set', 'lo', 'up')
    await this.#exec(i, 'ip', 'link', 'set', 'eth0', 'up')
  }

  /** The name of a namespace, and of its line's end at the switch. */
  #of(i: number): string {
    return `${this.#name}-${i}`
  }

  async #exec(i: number, ...command: readonly string[]): Promise<void> {
    await run('ip', ['netns', 'exec', this.#of(i), ...command])
  }
}

const SILENT = { stdio: 'ignore' } as const

function tolerate(act: () => void): void {
  try {
    act()
  } catch {
    // It was not there.
  }
}
