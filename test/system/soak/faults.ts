import { setTimeout as sleep } from 'node:timers/promises'
import { randomInteger, type Random } from '../../../runtime/base/random.ts'
import type { CableFault } from './cable.ts'
import type { SoakGateway, SoakMesh } from './mesh.ts'

/** One fault of one part of the mesh, for a while. */
interface Fault {
  readonly kind: string
  /** What it is a fault of: that has no other one meanwhile. */
  readonly of: string
  readonly ms: number
  begin(): Promise<void>
  end(): Promise<void>
}

const GAP_MS = [500, 3_000] as const

/** Faults at random, several at once, drawn from a seed. Their moments are those of a real machine: the schedule repeats, the run does not. */
export class Faults {
  readonly counts: { [kind: string]: number } = {}
  readonly failures: string[] = []
  readonly #mesh: SoakMesh
  readonly #random: Random
  readonly #underWay = new Map<string, Promise<void>>()

  constructor(mesh: SoakMesh, random: Random) {
    this.#mesh = mesh
    this.#random = random
  }

  /** Resolves after `ms`, or when aborted, with every fault lifted. */
  async run(ms: number, stop: AbortSignal): Promise<void> {
    const deadline = performance.now() + ms
    while (performance.now() < deadline && !stop.aborted) {
      const fault = this.#draw()
      if (!this.#underWay.has(fault.of)) this.#underWay.set(fault.of, this.#suffer(fault, stop))
      await pause(randomInteger(this.#random, ...GAP_MS), stop)
    }
    await Promise.all(this.#underWay.values())
  }

  async #suffer(fault: Fault, stop: AbortSignal): Promise<void> {
    this.counts[fault.kind] = (this.counts[fault.kind] ?? 0) + 1
    try {
      await fault.begin()
      await pause(fault.ms, stop)
      await fault.end()
    } catch (error) {
      this.failures.push(`${fault.kind} of ${fault.of}: ${error instanceof Error ? error.message : String(error)}`)
    }
    this.#underWay.delete(fault.of)
  }

  #draw(): Fault {
    const i = randomInteger(this.#random, 0, this.#mesh.gateways.length - 1)
    return this.#random() < 0.4 ? this.#ofProcess(i) : this.#ofNetwork(i)
  }

  #ofProcess(i: number): Fault {
    const gateway = this.#mesh.gateways[i] as SoakGateway
    const of = `gateway ${i}`
    if (this.#random() < 0.5) {
      const ms = randomInteger(this.#random, 100, 3_000)
      const kill = async (): Promise<void> => {
        checkRunning(gateway)
        await gateway.process.stop('SIGKILL')
      }
      return { kind: 'kill', of, ms, begin: kill, end: () => gateway.start() }
    }
    const signal = (name: NodeJS.Signals) => async (): Promise<void> => {
      checkRunning(gateway)
      process.kill(gateway.process.pid, name)
    }
    const ms = randomInteger(this.#random, 1_000, 20_000)
    return { kind: 'stop', of, ms, begin: signal('SIGSTOP'), end: signal('SIGCONT') }
  }

  #ofNetwork(i: number): Fault {
    const ms = randomInteger(this.#random, 1_000, 15_000)
    return this.#mesh.namespaces ? this.#ofLine(i, ms) : this.#ofCable(ms)
  }

  #ofCable(ms: number): Fault {
    const i = randomInteger(this.#random, 0, this.#mesh.cables.length - 1)
    const cable = this.#mesh.cables[i]
    const faults: readonly CableFault[] = [
      { kind: 'delay', ms: randomInteger(this.#random, 20, 1_500) },
      { kind: 'throttle', bytesPerSecond: randomInteger(this.#random, 500, 50_000) },
      { kind: 'reset' },
      { kind: 'silent' },
      { kind: 'half-open' },
    ]
    const fault = faults[randomInteger(this.#random, 0, faults.length - 1)] as CableFault
    const set = (to: CableFault | null) => async (): Promise<void> => cable?.set(to)
    return { kind: fault.kind, of: `cable ${i}`, ms, begin: set(fault), end: set(null) }
  }

  #ofLine(i: number, ms: number): Fault {
    const lines = this.#mesh.namespaces
    if (!lines) throw new Error('There are no namespaces')
    const percent = randomInteger(this.#random, 1, 20)
    const kbit = randomInteger(this.#random, 64, 10_000)
    const faults: readonly Omit<Fault, 'ms'>[] = [
      { kind: 'loss', of: `loss ${i}`, begin: () => lines.setLoss(i, percent), end: () => lines.setLoss(i, 0) },
      { kind: 'rate', of: `rate ${i}`, begin: () => lines.setRate(i, kbit), end: () => lines.setRate(i, null) },
      { kind: 'down', of: `line ${i}`, begin: () => lines.setDown(i, true), end: () => lines.setDown(i, false) },
    ]
    return { ...(faults[randomInteger(this.#random, 0, faults.length - 1)] as Fault), ms }
  }
}

/** Only a fault may end a gateway. */
function checkRunning({ process }: SoakGateway): void {
  if (!process.isRunning) throw new Error('the gateway had ended by itself')
}

/** Resolves after `ms` or when aborted. */
export async function pause(ms: number, stop: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal: stop }).catch(() => {})
}
