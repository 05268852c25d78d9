import type { BrokerHandler } from '../ports/broker.ts'
import type { BrokerClient } from './clients.ts'
import { matches, mayMatchDocuments } from './topics.ts'

/**
 * Answers one client's subscriptions under `marram/data/` with the documents as they are: each is read and handed over in
 * one step, so that no change can overtake it, and the next is read when the client has taken what it was given. One
 * subscription after the other, so that a client that subscribes again and again makes no more work.
 */
export class DocumentAnswers {
  readonly #handler: Pick<BrokerHandler, 'retained'>
  /** Filters that wait for their turn, by client. */
  readonly #waiting = new Map<BrokerClient, Set<string>>()

  constructor(handler: Pick<BrokerHandler, 'retained'>) {
    this.#handler = handler
  }

  async answer(client: BrokerClient, filters: readonly string[]): Promise<void> {
    const wanted = filters.filter(mayMatchDocuments)
    const waiting = this.#waiting.get(client)
    if (waiting) for (const filter of wanted) waiting.add(filter)
    if (waiting || wanted.length === 0) return
    const queue = new Set(wanted)
    this.#waiting.set(client, queue)
    try {
      for (const filter of queue) {
        queue.delete(filter)
        await this.#send(client, filter)
      }
    } finally {
      this.#waiting.delete(client)
    }
  }

  async #send(client: BrokerClient, filter: string): Promise<void> {
    await taken(client)
    for (const { topic, payload } of this.#handler.retained(filter)) {
      if (client.closed) return
      if (!matches(filter, topic)) continue
      await given(client, topic, Buffer.from(payload))
      await taken(client)
    }
  }
}

/** QoS 0: a client that loses its connection subscribes again, and is then given the documents of that time. */
function given(client: BrokerClient, topic: string, payload: Buffer): Promise<void> {
  const packet = { cmd: 'publish', topic, payload, qos: 0, retain: true, dup: false } as const
  return new Promise((resolve) => client.publish(packet, () => resolve()))
}

/** Resolves when the client has taken all that was given to it, or is gone: aedes emits the event at the end as well. */
function taken({ conn, closed }: BrokerClient): Promise<void> {
  if (closed || !conn.writableNeedDrain) return Promise.resolve()
  return new Promise((resolve) => conn.once('drain', resolve))
}
