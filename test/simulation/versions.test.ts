import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { seededRandom, type Random } from '../../runtime/base/random.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import type { Writer } from '../../runtime/access/seals.ts'
import { OP_PUT, type Feed, type Ops } from '../../runtime/model/batch.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import { decodeBatch } from '../../runtime/wire/batch.ts'
import { encodeBody } from '../../runtime/wire/body.ts'
import { encodeDescriptor, feedOf } from '../../runtime/wire/descriptor.ts'
import { decodeMessages, encodeMessages, type Message } from '../../runtime/wire/message.ts'
import { forgedBatch } from '../fuzz/forge.ts'
import { fakeKey, fakeSignature, SimulatedGateway, type World } from './gateway.ts'
import { Schedule } from './schedule.ts'

/**
 * A fleet is updated in any order: gateways of version 1 carry what a later version writes byte for byte, show of it what
 * they understand, and go on behind what they don't (protocol D29, D30).
 */
const START_MS = Date.UTC(2026, 0, 1)
const GATEWAYS = 3
const LATER = GATEWAYS
const LATER_LINK = 99
const READER_LINK = 98
const OP_OF_LATER = 77
const FLAG_OF_LATER = 64

interface Later {
  readonly ops: Ops
  readonly flags?: number
  readonly minReader?: number
  readonly more?: readonly (readonly [number, string])[]
}

/** Three gateways of version 1 in a row; a writer of a later version is linked to the first, a reader of it to the last. */
class MixedWorld implements World {
  readonly meshId: Uint8Array = new Uint8Array(16).fill(7)
  readonly random: Random = seededRandom(1)
  readonly schedule: Schedule = new Schedule()
  readonly history: object = {}
  readonly keys: readonly Uint8Array[] = [0, 1, 2, LATER, LATER + 1].map((index) => fakeKey(1, index))
  readonly gateways: readonly SimulatedGateway[]
  readonly feed: Feed
  readonly batches: Uint8Array[] = []
  /** What the reader at the other end was sent. */
  readonly received: Uint8Array[] = []
  readonly #aliases = new Map<number, string>()

  constructor() {
    this.gateways = [0, 1, 2].map((index) => new SimulatedGateway(this, index, this.#key(index), START_MS, 2))
    this.feed = feedOf(this.meshId, {
      publicKey: this.#key(LATER),
      incarnation: new Uint8Array(8).fill(1),
      collection: 'climate',
      partition: '',
      kind: 0,
      encrypted: false,
    })
  }

  start(): void {
    for (const gateway of this.gateways) gateway.start()
    for (let i = 1; i < GATEWAYS; i++) {
      this.gateways[i - 1]?.linkUp(i * 2, i)
      this.gateways[i]?.linkUp(i * 2 + 1, i - 1)
    }
    this.gateways[0]?.linkUp(LATER_LINK, LATER)
    this.gateways[GATEWAYS - 1]?.linkUp(READER_LINK, LATER + 1)
  }

  write(later: Later): void {
    const seq = this.batches.length + 1
    const before = decodeBatch(this.meshId, this.batches.at(-1) ?? new Uint8Array())
    const hlc = hlcFromMs(START_MS) + seq
    const { body, flags } = encodeBody(later.ops, hlc)
    const header = {
      feedId: this.feed.id,
      seq,
      prev: before.ok ? before.value.hash : new Uint8Array(32),
      hlc,
      flags: flags | (later.flags ?? 0),
      minReader: later.minReader ?? 1,
      more: later.more ?? [],
    }
    this.batches.push(forgedBatch(this.meshId, header, body, (message) => fakeSignature(this.#key(LATER), message)))
  }

  /** The later version says hello, with what this one doesn't know, and pushes all that it has. */
  push(): void {
    const unknown = { type: 'dig', buckets: new Uint8Array(512) } as const
    const alias = 5
    const head = decodeBatch(this.meshId, this.batches.at(-1) as Uint8Array)
    assert.ok(head.ok)
    this.gateways[0]?.frame(
      LATER_LINK,
      encodeMessages([
        hello([1, 2]),
        { type: 'feed', alias, descriptor: encodeDescriptor(this.feed.descriptor), chain: [] },
        { type: 'have', entries: [[alias, head.value.header.seq, head.value.hash.slice(0, 8)]], marker: null },
        unknown,
        { type: 'data', batches: this.batches },
      ]),
    )
  }

  send(from: number, link: number, bytes: Uint8Array): void {
    if (link === READER_LINK) return this.#read(bytes)
    if (link === LATER_LINK) return
    const [to, there] = link % 2 === 0 ? [from + 1, link + 1] : [from - 1, link - 1]
    this.schedule.after(2, () => this.gateways[to]?.frame(there, bytes))
  }

  /** The reader wants every feed from the beginning. */
  #read(frame: Uint8Array): void {
    const messages = decodeMessages(frame)
    assert.ok(messages.ok)
    for (const message of messages.value) {
      if (message.type === 'hello') this.#answer(hello([1, 2]))
      if (message.type === 'feed') this.#aliases.set(message.alias, hex(message.descriptor))
      if (message.type === 'feed') this.#answer({ type: 'want', entries: [[message.alias, 1, 1]] })
      if (message.type === 'data') this.received.push(...message.batches.map((batch) => batch.slice()))
    }
  }

  #answer(message: Message): void {
    this.schedule.after(2, () => this.gateways[GATEWAYS - 1]?.frame(READER_LINK, encodeMessages([message])))
  }

  #key(index: number): Uint8Array {
    return this.keys[index] as Uint8Array
  }

  peerIdOf(index: number): string {
    return peerIdOf(this.#key(index))
  }

  closeLink(from: number, _link: number, reason: string): void {
    assert.fail(`gateway ${from} closed a link: ${reason}`)
  }

  isSigned(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    return Buffer.from(fakeSignature(publicKey, message)).equals(signature)
  }

  members(): readonly Writer[] {
    return this.keys.map((key) => ({ origin: peerIdOf(key), since: 0 }))
  }

  acknowledged(): void {}
  stopped(): void {}
  event(): void {}
  stored(): void {}
  dropped(): void {}
}

function hello(versions: [number, number]): Message {
  return {
    type: 'hello',
    versions,
    features: ['heard', 'of a later version'],
    instance: new Uint8Array(8).fill(1),
    lsn: 1,
    cursor: null,
    interest: ['*'],
    clock: { class: 2, hlc: hlcFromMs(START_MS) },
    credit: 1_048_576,
    name: 'later',
    version: '2.0.0',
  }
}

function put(key: string, path: string, value: number): Ops {
  return { docs: [key], shapes: [{ kind: OP_PUT, paths: [path] }], opDocs: [0], opShapes: [0], values: [value] }
}

/** An operation of a kind that version 1 doesn't know, between two that it knows. */
function withUnknown(): Ops {
  return {
    docs: ['mixed'],
    shapes: [
      { kind: OP_PUT, paths: ['before'] },
      { kind: OP_OF_LATER, paths: ['of-later'] },
      { kind: OP_PUT, paths: ['after'] },
    ],
    opDocs: [0, 0, 0],
    opShapes: [0, 1, 2],
    values: [1, [1, 'unknown', null], 2],
  }
}

describe('SPEC I28: version 2 beside version 1', () => {
  const world = new MixedWorld()
  world.start()
  world.write({ ops: put('plain', 'a', 1) })
  world.write({ ops: withUnknown() })
  world.write({ ops: put('flagged', 'a', 1), flags: FLAG_OF_LATER, more: [[11, 'a key of a later version']] })
  world.write({ ops: put('plain', 'a', 2), minReader: 2 })
  world.write({ ops: put('unreadable', 'a', 1), minReader: 2 })
  world.write({ ops: put('plain', 'b', 3) })
  world.schedule.runUntil(1_000)
  world.gateways[1]?.write('climate', { kind: 'put', key: 'mixed', fields: { ours: 4 } })
  world.push()
  world.schedule.runUntil(20_000)

  const documentsOf = (gateway: SimulatedGateway): { readonly [key: string]: unknown } => {
    const keys = ['plain', 'mixed', 'flagged', 'unreadable']
    return Object.fromEntries(
      keys.map((key) => {
        const document = gateway.disk.document({ collection: 'climate', partition: '' }, key)
        return [key, document === undefined ? null : fieldsOf(document)]
      }),
    )
  }

  test('the feed goes on behind what can not be read', () => {
    for (const { disk } of world.gateways) assert.equal(disk.head(world.feed.key)?.seq, world.batches.length)
  })

  test('what is understood shows, the same on every gateway', () => {
    for (const gateway of world.gateways) {
      assert.deepEqual(documentsOf(gateway), {
        plain: { a: 1, b: 3 },
        mixed: { before: 1, after: 2, ours: 4 },
        flagged: { a: 1 },
        unreadable: null,
      })
    }
  })

  test('the unknown travels through version 1 byte for byte', () => {
    const ofLater = world.received.filter((bytes) => {
      const batch = decodeBatch(world.meshId, bytes)
      return batch.ok && hex(batch.value.header.feedId) === hex(world.feed.id)
    })
    assert.deepEqual(ofLater.map(hex), world.batches.map(hex))
  })
})
