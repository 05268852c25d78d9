declare module 'aedes-persistence/asyncPersistence.js' {
  import type { Readable } from 'node:stream'

  /** aedes-persistence 11: everything in memory. Declared is what is used of it. */
  export default class AsyncPersistence {
    setup(broker: object): Promise<void>
    createRetainedStream(pattern: string): Readable
    addSubscriptions(client: { id: string }, subscriptions: readonly { topic: string; qos: number }[]): Promise<void>
    removeSubscriptions(client: { id: string }, topics: readonly string[]): Promise<void>
    cleanSubscriptions(client: { id: string }): Promise<void>
    /** Of persistent sessions, with a QoS above 0. */
    subscriptionsByTopic(topic: string): Promise<{ clientId: string }[]>
    putWill(client: { id: string }, packet: object): Promise<void>
    getWill(client: { id: string }): Promise<object | undefined>
    delWill(client: { id: string }): Promise<object | undefined>
  }
}

declare module 'aedes-persistence/abstract.js' {
  import type { test } from 'node:test'

  /** The conformance suite of aedes-persistence. */
  export default function abstractPersistence(options: {
    test: typeof test
    persistence: () => object
    testAsync: true
  }): void
}
