import assert from 'node:assert/strict'
import { hex } from '../../runtime/base/bytes.ts'
import { seededRandom, type Random } from '../../runtime/base/random.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import type { Writer } from '../../runtime/access/seals.ts'
import type { Cursor } from '../../runtime/sync/cursors.ts'
import type { Feed } from '../../runtime/model/batch.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import { encodeDescriptor, feedOf } from '../../runtime/wire/descriptor.ts'
import { decodeMessages, encodeMessages, type Message } from '../../runtime/wire/message.ts'
import { fakeKey, fakeSignature, SimulatedGateway, type World } from '../simulation/gateway.ts'
import { Schedule } from '../simulation/schedule.ts'

export const START_MS: number = Date.UTC(2026, 0, 1)
const OURS = 0
const NEIGHBOUR = 1
const AUTHORS = 4
/** So far apart are the numbers of the neighbour's links. */
const LINKS = 100

/** One gateway with the real engine, and one neighbour whose part the test plays, message by message. */
export class Played implements World {
  readonly meshId: Uint8Array = new Uint8Array(16).fill(7)
  readonly random: Random = seededRandom(1)
  readonly schedule: Schedule = new Schedule()
  readonly history: object = {}
  /** Of the gateway, the neighbour, and others whose batches the neighbour has. */
  readonly keys: readonly Uint8Array[] = Array.from({ length: AUTHORS }, (_, index) => fakeKey(1, index))
  readonly gateway: SimulatedGateway
  /** What documents showed before and after dead batches left. */
  readonly drops: { readonly before: ReadonlyMap<string, string>; readonly after: ReadonlyMap<string, string> }[] = []
  /** How many bytes of batches the neighbour takes, as it says when it greets. */
  credit = 1_048_576
  /** The neighbour's; whose is another than the gateway's compares nothing. */
  version = 'by hand'
  /** How many checkpoints the gateway has signed. */
  compacted = 0
  readonly #members: readonly Writer[]
  /** What the gateway has said on the link and the test hasn't looked at yet. */
  #said: Message[] = []
  #link = 0
  readonly #aliases = new Map<string, number>()

  /** The first `members` of those with a key are members: what they write and confirm is waited for. */
  constructor(members: number = 2) {
    this.#members = this.keys.slice(0, members).map((key) => ({ origin: peerIdOf(key), since: 0 }))
    this.gateway = new SimulatedGateway(this, OURS, this.keys[OURS] as Uint8Array, START_MS, 2)
    this.gateway.start()
    this.again()
  }

  /** The neighbour's link goes, and it greets on another. */
  again(interest: readonly string[] = ['*'], cursor: Cursor | null = null): void {
    if (this.#link > 0) this.gateway.linkDown(this.#link)
    this.#link += LINKS
    this.#aliases.clear()
    this.#said = []
    this.link(this.#link, NEIGHBOUR, interest, cursor)
  }

  /** Another neighbour, by the index of its key, comes up and greets. */
  link(link: number, index: number, interest: readonly string[] = ['*'], cursor: Cursor | null = null): void {
    this.gateway.linkUp(link, index)
    this.greet(link, index, interest, cursor)
  }

  /** `lsn`: the number of the last batch in its database. */
  greet(link: number, index: number, interest: readonly string[], cursor: Cursor | null, lsn: number = 0): void {
    const hello: Message = {
      type: 'hello',
      versions: [1, 1],
      features: ['heard'],
      instance: new Uint8Array(8).fill(index),
      lsn,
      cursor,
      interest,
      clock: { class: 2, hlc: hlcFromMs(START_MS) },
      credit: this.credit,
      name: 'played',
      version: this.version,
    }
    this.sayOn(link, hello)
  }

  say(...messages: readonly Message[]): void {
    this.sayOn(this.#link, ...messages)
  }

  sayOn(link: number, ...messages: readonly Message[]): void {
    this.gateway.frame(link, encodeMessages(messages))
  }

  /** Lets so much time pass, in which the neighbour answers pings; what the gateway said meanwhile. */
  pass(ms: number): readonly Message[] {
    this.schedule.runUntil(this.schedule.now + ms)
    const said = this.#said
    this.#said = []
    return said
  }

  /** The number that the gateway gave to its feed of a collection. */
  aliasOf(collection: string): number {
    const alias = this.#aliases.get(hex(encodeDescriptor(this.ownFeed(collection).descriptor)))
    assert.ok(alias !== undefined, `it never spoke of its feed of "${collection}"`)
    return alias
  }

  ownFeed(collection: string): Feed {
    return this.#feed(OURS, collection)
  }

  neighboursFeed(collection: string): Feed {
    return this.#feed(NEIGHBOUR, collection)
  }

  #feed(index: number, collection: string): Feed {
    const publicKey = this.keys[index] as Uint8Array
    const { incarnation } = this.gateway
    return feedOf(this.meshId, { publicKey, incarnation, collection, partition: '', kind: 0, encrypted: false })
  }

  send(_from: number, link: number, bytes: Uint8Array): void {
    const messages = decodeMessages(bytes)
    assert.ok(messages.ok)
    for (const message of messages.value) {
      this.#said.push(message)
      if (message.type === 'feed') this.#aliases.set(hex(message.descriptor), message.alias)
      if (message.type !== 'ping' || message.isReply) continue
      const { nonce } = message
      this.schedule.after(1, () => {
        this.sayOn(link, { type: 'ping', nonce, isReply: true, digest: new Uint8Array(8), sentBytes: 0 })
      })
    }
  }

  peerIdOf(index: number): string {
    return peerIdOf(this.keys[index] as Uint8Array)
  }

  closeLink(_from: number, _link: number, reason: string): void {
    assert.fail(`the gateway closed the link: ${reason}`)
  }

  isSigned(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    return Buffer.from(fakeSignature(publicKey, message)).equals(signature)
  }

  members(): readonly Writer[] {
    return this.#members
  }

  dropped(_: SimulatedGateway, before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): void {
    this.drops.push({ before, after })
  }

  acknowledged(): void {}
  stopped(): void {}
  event(_from: number, name: string): void {
    if (name === 'compacted') this.compacted += 1
  }
  stored(): void {}
}
