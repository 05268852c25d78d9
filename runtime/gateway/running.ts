import { codeOf, MarramError } from '../base/errors.ts'
import type { Driver } from '../driver/driver.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Place } from '../model/interest.ts'
import type { Hlc } from '../model/stamp.ts'
import type { Measured } from '../topology/topology.ts'
import type { Confirmer, Writer, WriteOp, Written } from '../ports/writer.ts'

export interface RunningOptions {
  readonly makeDriver: () => Driver
  readonly makeMesh: (driver: Driver) => Mesh
  /** The disk did not take what another engine rests on: none runs any more. */
  readonly onFailed: (error: unknown) => void
  /** The other members that are not being removed. */
  readonly others: () => ReadonlyMap<string, unknown>
}

/**
 * The engine that runs, with its links. Another takes its place when this gateway is let in, keeps something else, or
 * writes under another incarnation: none of that changes under way, and the neighbours are greeted anew.
 */
export class Running implements Writer, Confirmer {
  readonly #options: RunningOptions
  #driver: Driver | null = null
  #mesh: Mesh | null = null
  #replacing: Promise<void> | null = null
  #areWritesOver = false
  #isClosed = false

  constructor(options: RunningOptions) {
    this.#options = options
  }

  start(): void {
    const driver = this.#options.makeDriver()
    this.#driver = driver
    this.#mesh = this.#options.makeMesh(driver)
    driver.start(this.#mesh)
  }

  get isStarted(): boolean {
    return this.#driver !== null
  }

  get driver(): Driver {
    return this.#driver as Driver
  }

  get mesh(): Mesh {
    return this.#mesh as Mesh
  }

  /**
   * One after the other. `isWanted` is asked when its turn has come; `between` is told up to which stamp the engine that
   * ended has written; resolves to whether another engine runs.
   */
  replace(isWanted: () => boolean, between: (clock: Hlc) => void | Promise<void>): Promise<boolean> {
    const before = this.#replacing ?? Promise.resolve()
    const replaced = before.catch(() => {}).then(() => this.#replace(isWanted, between))
    const replacing: Promise<void> = replaced
      .then(() => {})
      .finally(() => {
        if (this.#replacing === replacing) this.#replacing = null
      })
    this.#replacing = replacing
    return replaced
  }

  /** Writes wait for the engine that takes this one's place; those that this one gave back go to it. */
  write(collection: string, partition: string, ops: readonly WriteOp[]): Promise<Written> {
    if (this.#areWritesOver) return Promise.reject(new MarramError('closed', 'Cannot write: the gateway is stopping'))
    const write = (): Promise<Written> => this.driver.write(collection, partition, ops)
    if (this.#replacing) return this.#replacing.then(write)
    return write().catch((error: unknown) => {
      if (codeOf(error) !== 'incarnation-lost' || !this.#replacing) throw error
      return this.#replacing.then(write)
    })
  }

  /** Before links end: what could be handed to nobody is not taken, whoever still holds this gateway's operations. */
  endWrites(): void {
    this.#areWritesOver = true
  }

  /** Waiting for more gateways than keep it would be for ever. */
  checkWait(count: number, place: Place): void {
    const others = this.#options.others()
    const { length } = [...others.keys()].filter((peerId) => this.driver.isKeptBy(peerId, place))
    if (count > length) {
      const keepers = length === others.size ? '' : `, of which ${length} keep "${place.collection}"`
      const sentence = `Cannot wait for ${count} other gateways: the mesh has ${others.size}${keepers}, nothing was written`
      throw new MarramError('bad-request', sentence)
    }
    if (this.driver.hasRoomToWait) return
    const sentence = 'Cannot wait for other gateways: too many writes wait for them already, nothing was written'
    throw new MarramError('overloaded', sentence)
  }

  confirm(...wait: Parameters<Confirmer['confirm']>): ReturnType<Confirmer['confirm']> {
    return this.driver.confirm(...wait)
  }

  /** What is known of the links that are up, by peer. */
  measures(): ReadonlyMap<string, Measured> {
    const relays = new Map(this.mesh.figures().map(({ link, relay }) => [link, relay]))
    return new Map(
      this.driver.links.map(({ link, peerId, latencyMs, loss, behind }) => {
        return [peerId, { latencyMs, loss, behind, isRelayed: (relays.get(link) ?? null) !== null }]
      }),
    )
  }

  /** One frame over the link with that peer, which counts for the budget of bytes like the engine's own. */
  send(peerId: string, frame: Uint8Array): void {
    if (this.mesh.sendTo(peerId, frame)) this.driver.spent(frame.length)
  }

  closeLinks(): void {
    this.#mesh?.closeAll()
  }

  /** Links end first; what was acknowledged is in the store. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.closeLinks()
    await this.#replacing?.catch(() => {})
    await this.#driver?.close()
  }

  async #replace(isWanted: () => boolean, between: (clock: Hlc) => void | Promise<void>): Promise<boolean> {
    if (this.#isClosed || !isWanted()) return false
    this.mesh.closeAll()
    await this.driver.close()
    try {
      await between(this.driver.view.clock)
    } catch (error) {
      // Without what was to be on the disk first nothing may be written any more.
      this.#options.onFailed(error)
      return false
    }
    if (this.#isClosed) return false
    this.start()
    return true
  }
}
