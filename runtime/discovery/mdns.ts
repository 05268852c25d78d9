import { Bonjour, type Browser, type Service as Published } from 'bonjour-service'
import { DISCOVERY_LIMITS } from '../base/limits.ts'
import type { Random } from '../base/random.ts'
import type { Discovery, DiscoveryFigures, Hint } from '../ports/discovery.ts'
import type { Log } from '../ports/log.ts'
import type { Address } from '../profile/address.ts'
import { hintOf, txtOf, type Service } from './announcement.ts'
import type { Network } from './network.ts'
import { GuardedSocket } from './socket.ts'

export interface MdnsOptions {
  readonly network: Network
  readonly mesh8: string
  readonly peerId: string
  readonly cell: string | null
  /** The listener to announce; null announces nothing. */
  readonly listener: Address | null
  readonly onHint: (hint: Hint) => void
  /** Whether more neighbours are wanted: then it asks more often. */
  readonly isSeeking: () => boolean
  readonly random: Random
  readonly log: Log
  readonly monotonicMs: () => number
}

const TYPE = 'marram'
const TICK_MS = 1_000
/** Every so often the interfaces are looked at. */
const LOOK_MS = 5_000
/** Between questions while neighbours are wanted, doubling from the first to the most; and while none are. */
const FIRST_ASK_MS = 1_000
const ASK_MS_MAX = 60_000
const CONTENT_ASK_MS = 600_000
const GOODBYE_MS = 500

/**
 * DNS service discovery over multicast DNS (RFC 6763, RFC 6762) by bonjour-service, behind a guarded socket. What the
 * package's browser remembers grows with whatever anybody says, and it tells of a gateway only once: so every question
 * goes out with a new browser.
 */
export class Mdns implements Discovery {
  readonly #options: MdnsOptions
  readonly #socket: GuardedSocket
  readonly #bonjour: Bonjour
  #browser: Browser | null = null
  #published: Published | null = null
  #timer: NodeJS.Timeout | null = null
  #lookAt = 0
  #askAt = 0
  #asked = 0
  /** Services that the browser of now has told of. */
  #told = 0

  constructor(options: MdnsOptions) {
    this.#options = options
    const { network, peerId, listener, log, monotonicMs } = options
    const isEverywhere = listener === null || listener.host === '::' || listener.host === '0.0.0.0'
    const announcedOn = isEverywhere ? null : listener.host
    this.#socket = new GuardedSocket({ network, labels: [`_${TYPE}`, peerId], announcedOn, log, monotonicMs })
    // Its options are typed as if they were a service's.
    const transport: object = { socket: this.#socket, bind: false }
    this.#bonjour = new Bonjour(transport, (error: Error) =>
      log.debug('discovery-packet-failed', { message: error.message }),
    )
  }

  start(): void {
    this.#tick()
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref()
  }

  figures(): DiscoveryFigures {
    return this.#socket.figures
  }

  async close(): Promise<void> {
    if (!this.#timer) return
    clearInterval(this.#timer)
    this.#timer = null
    this.#browser?.stop()
    await this.#goodbye()
    this.#bonjour.destroy()
  }

  #tick(): void {
    const nowMs = this.#options.monotonicMs()
    if (nowMs >= this.#lookAt) {
      this.#lookAt = nowMs + LOOK_MS
      if (this.#socket.refresh()) return this.#moved(nowMs)
    }
    if (!this.#published) this.#publish()
    if (nowMs >= this.#askAt) this.#ask(nowMs)
  }

  /** To other interfaces, whose sockets open meanwhile: everything is asked and told anew with the next tick. */
  #moved(nowMs: number): void {
    this.#options.log.debug('discovery-interfaces', { interfaces: this.#socket.figures.interfaces })
    this.#asked = 0
    this.#askAt = nowMs
    void this.#goodbye()
  }

  /** Anew for each set of interfaces, since its records name their addresses. */
  #publish(): void {
    const { peerId, mesh8, cell, listener } = this.#options
    if (!listener || this.#socket.figures.interfaces.length === 0) return
    const { port, protocol } = listener
    this.#published = this.#bonjour.publish({
      name: peerId,
      type: TYPE,
      port,
      host: `${peerId}.local`,
      txt: txtOf({ mesh8, peerId, cell, port, isTls: protocol === 'mqtts' }),
      // A name that is a key's hash needs no probing.
      probe: false,
      disableIPv6: true,
    })
  }

  #ask(nowMs: number): void {
    const wanted = Math.min(FIRST_ASK_MS * 2 ** this.#asked, ASK_MS_MAX)
    const waitMs = this.#options.isSeeking() ? wanted : CONTENT_ASK_MS
    this.#asked += 1
    this.#askAt = nowMs + waitMs * (0.5 + this.#options.random())
    this.#browse()
  }

  /** A browser asks when it is made. */
  #browse(): void {
    this.#browser?.stop()
    this.#told = 0
    const heard = (service: Service): void => this.#heard(service)
    this.#browser = this.#bonjour.find({ type: TYPE }, heard)
    this.#browser.on('txt-update', heard).on('srv-update', heard)
  }

  #heard(service: Service): void {
    this.#told += 1
    // What this browser remembers is enough; the next one asks who is there really.
    if (this.#told >= DISCOVERY_LIMITS.servicesMax) this.#browser?.stop()
    const { mesh8, peerId, onHint } = this.#options
    const hint = hintOf(service, mesh8)
    if (hint && hint.peerId !== peerId) onHint(hint)
  }

  /** Resolves when it is said, or when that takes too long. */
  #goodbye(): Promise<void> {
    const published = this.#published
    this.#published = null
    if (!published) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GOODBYE_MS)
      // The sockets send in a later turn than they are told to.
      published.stop(() =>
        setImmediate(() => {
          clearTimeout(timer)
          resolve()
        }),
      )
    })
  }
}
