import { EventEmitter } from 'node:events'
import { sentenceOf } from '../base/errors.ts'
import { DISCOVERY_LIMITS } from '../base/limits.ts'
import type { DiscoveryFigures } from '../ports/discovery.ts'
import type { Log } from '../ports/log.ts'
import { Bucket } from '../base/bucket.ts'
import { Guard, isResponse } from './guard.ts'
import type { Network } from './network.ts'

export interface GuardedSocketOptions {
  readonly network: Network
  /** See Guard. */
  readonly labels: readonly string[]
  /** The one address over whose interface we announce ourselves; null for every interface. */
  readonly announcedOn: string | null
  readonly log: Log
  readonly monotonicMs: () => number
}

/**
 * What multicast-dns takes for its UDP socket. It never emits `error`, which would end the process; what comes in was
 * looked at by the guard, and what goes out goes out on every interface, so often and no more.
 */
export class GuardedSocket extends EventEmitter {
  readonly #options: GuardedSocketOptions
  readonly #guard: Guard
  readonly #queries = new Bucket(DISCOVERY_LIMITS.sentPerSecond, DISCOVERY_LIMITS.sentAtOnce)
  readonly #responses = new Bucket(DISCOVERY_LIMITS.sentPerSecond, DISCOVERY_LIMITS.sentAtOnce)
  #interfaces: readonly string[] = []
  #received = 0
  #read = 0
  #sent = 0

  constructor(options: GuardedSocketOptions) {
    super()
    this.#options = options
    this.#guard = new Guard(options.labels)
    options.network.listen((packet, source) => this.#receive(packet, source))
  }

  get figures(): DiscoveryFigures {
    const [received, read] = [this.#received, this.#read]
    return { interfaces: this.#interfaces, received, read, dropped: received - read, sent: this.#sent }
  }

  /** True when an interface came, went or changed its address. */
  refresh(): boolean {
    const before = this.#interfaces.join()
    this.#interfaces = this.#options.network.refresh()
    return this.#interfaces.join() !== before
  }

  /** `dgram.Socket.send` as multicast-dns calls it: the whole packet, to the group. */
  send(packet: Buffer, _offset: number, _length: number, _port: number, _group: string, done: () => void): void {
    const isAnswer = isResponse(packet)
    const bucket = isAnswer ? this.#responses : this.#queries
    if (bucket.take(this.#options.monotonicMs())) {
      for (const address of this.#interfaces)
        if (!isAnswer || this.#isAnnouncedOn(address)) this.#sendFrom(packet, address)
    }
    process.nextTick(done)
  }

  close(done?: () => void): void {
    this.#options.network.close()
    if (done) process.nextTick(done)
  }

  #isAnnouncedOn(address: string): boolean {
    const { announcedOn } = this.#options
    return announcedOn === null || announcedOn === address
  }

  #sendFrom(packet: Buffer, address: string): void {
    this.#sent += 1
    this.#options.network.send(packet, address)
  }

  #receive(packet: Buffer, source: string): void {
    this.#received += 1
    if (!this.#guard.accepts(packet, source, this.#options.monotonicMs())) return
    this.#read += 1
    try {
      this.emit('message', packet, { address: source, family: 'IPv4', port: 5_353, size: packet.length })
    } catch (error) {
      // What listens here decodes names that anybody may have made up.
      this.#options.log.debug('discovery-packet-failed', { message: sentenceOf(error) })
    }
  }
}
