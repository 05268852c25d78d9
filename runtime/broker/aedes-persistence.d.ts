declare module 'aedes-persistence/asyncPersistence.js' {
  import type { Readable } from 'node:stream'

  /** aedes-persistence 11: sessions, queues and retained messages in memory. */
  export default class AsyncPersistence {
    setup(broker: object): Promise<void>
    storeRetained(packet: object): Promise<void>
    createRetainedStream(pattern: string): Readable
    createRetainedStreamCombi(patterns: string[]): Readable
    addSubscriptions(client: { id: string }, subscriptions: { topic: string; qos: number }[]): Promise<void>
    removeSubscriptions(client: { id: string }, topics: string[]): Promise<void>
    cleanSubscriptions(client: { id: string }): Promise<void>
    outgoingEnqueue(subscription: { clientId: string }, packet: object): Promise<void>
    outgoingEnqueueCombi(subscriptions: { clientId: string }[], packet: object): Promise<void>
    outgoingClearMessageId(client: { id: string }, packet: object): Promise<object | undefined>
    outgoingStream(client: { id: string }): Readable
  }
}
