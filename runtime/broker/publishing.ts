import type { PublishPacket } from 'aedes'
import { sentenceOf } from '../base/errors.ts'
import { BROKER_LIMITS } from '../base/limits.ts'
import type { BrokerHandler } from '../ports/broker.ts'
import type { Log } from '../ports/log.ts'
import type { BrokerClient, DeviceLogin, RoutedPacket, UnnamedPacket } from './clients.ts'

/** How a message that is handed on reaches the disk, then subscribers. */
export interface Route {
  /** Resolves when it is retained and queued where that is due. Calls reach the disk in their order. */
  keep(packet: RoutedPacket): Promise<void>
  /** Gives it to those connected. */
  deliver(packet: RoutedPacket): void
}

/** Nobody may subscribe to it: aedes is given messages that were dealt with under this topic. */
const SINK = '$marram/sink'
/** A message that could not be stored comes again with the next connection, so that isn't made to come at once. */
const FAILED_PAUSE_MS = 1_000

/**
 * What an ordinary client publishes, from aedes's first look at it to its acknowledgement: aedes acknowledges before it
 * stores, so everything happens before it goes on, and what it goes on with is empty and goes nowhere.
 */
export class Publishing {
  readonly #handler: BrokerHandler
  readonly #route: Route
  readonly #packetOf: (packet: UnnamedPacket) => RoutedPacket
  readonly #log: Log

  /** `packetOf` copies the payload and names the packet. */
  constructor(handler: BrokerHandler, route: Route, packetOf: (packet: UnnamedPacket) => RoutedPacket, log: Log) {
    this.#handler = handler
    this.#route = route
    this.#packetOf = packetOf
    this.#log = log
  }

  /** Settles the packet; `done` without an error lets aedes acknowledge it, with one ends the connection. */
  take(client: BrokerClient, { user }: DeviceLogin, packet: PublishPacket, done: (error?: Error) => void): void {
    const { topic, qos, retain } = packet
    const routed = this.#packetOf(packet)
    sink(packet)
    const handled = this.#handler.publish({
      topic,
      payload: routed.payload as Buffer,
      qos,
      retain,
      clientId: client.id,
      user,
    })
    this.#pass(client, handled, routed, done)
  }

  /** Acknowledged in its turn [MQTT-4.6.0-2], and otherwise as if it had not come. */
  drop(client: BrokerClient, packet: PublishPacket, done: (error?: Error) => void): void {
    sink(packet)
    this.#pass(client, Promise.resolve('consume'), this.#packetOf(packet), done)
  }

  #pass(
    { id, lane: its, closed }: BrokerClient,
    handled: ReturnType<BrokerHandler['publish']>,
    routed: RoutedPacket,
    done: (error?: Error) => void,
  ): void {
    // A client that is closed has its will published: behind what it said itself, whatever became of that.
    const lane = closed ? new Lane(its.idle()) : its
    lane.pass(handled, routed, this.#route).then(
      () => done(),
      (error: unknown) => {
        // What came after it on the same connection fails with it, and the connection ends once.
        if (lane.hasFailed) return
        lane.hasFailed = true
        this.#failed(id, routed.topic, error, done)
      },
    )
  }

  #failed(clientId: string, topic: string, error: unknown, done: (error: Error) => void): void {
    this.#log.warn('mqtt-publish-failed', { clientId, topic, message: sentenceOf(error) })
    setTimeout(() => done(new Error('the message could not be stored')), FAILED_PAUSE_MS).unref()
  }
}

/** What was dealt with goes nowhere and keeps nothing in memory. */
export function sink(packet: PublishPacket): void {
  packet.topic = SINK
  packet.payload = Buffer.alloc(0)
  packet.retain = false
}

/**
 * Keeps one client's messages in order while many of them are under way: handlers run together, so that their writes
 * share a flush; storing begins in order, and so shares a flush as well; delivery and acknowledgement are in order.
 */
export class Lane {
  hasFailed = false
  #begun: Promise<unknown>
  #through: Promise<unknown>
  #underWay = 0

  /** Nothing goes on before `after`. */
  constructor(after: Promise<unknown> = Promise.resolve()) {
    this.#begun = after
    this.#through = after
  }

  /** True while nothing more of this client is to be read. */
  get isFull(): boolean {
    return this.hasFailed || this.#underWay >= BROKER_LIMITS.publishesAtOnce
  }

  /** Resolves when all that was passed so far is through, or has failed. */
  async idle(): Promise<void> {
    await this.#through.catch(() => {})
  }

  /** Rejects when the message failed, or one before it did. */
  pass(handled: Promise<'forward' | 'consume'>, packet: RoutedPacket, route: Route): Promise<void> {
    this.#underWay += 1
    const begun = Promise.all([handled, this.#begun]).then(([answer]) => {
      const isForwarded = answer === 'forward'
      return { isForwarded, kept: isForwarded ? route.keep(packet) : null }
    })
    const kept = begun.then((step) => step.kept)
    const through = Promise.all([begun, kept, this.#through])
      .then(([{ isForwarded }]) => {
        if (isForwarded) route.deliver(packet)
      })
      .finally(() => (this.#underWay -= 1))
    this.#begun = begun
    this.#through = through
    return through
  }
}
