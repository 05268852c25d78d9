import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Writer } from '../../runtime/access/seals.ts'
import { seededRandom, type Random } from '../../runtime/base/random.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import { decodeMessages, encodeMessages, type Message } from '../../runtime/wire/message.ts'
import { fakeKey, SimulatedGateway, type World } from './gateway.ts'
import { Schedule } from './schedule.ts'

const START_MS = Date.UTC(2026, 0, 1)
const LINK = 1
const PING_MS = 15_000
const MINUTES = 5
const PING = { type: 'ping', nonce: 0, isReply: false, digest: new Uint8Array(8), sentBytes: 0 } as const

/** One gateway whose neighbour greets and answers pings after a while, or not at all; its link stays up all the same. */
class SilentWorld implements World {
  readonly meshId: Uint8Array = new Uint8Array(16).fill(7)
  readonly random: Random = seededRandom(1)
  readonly schedule: Schedule = new Schedule()
  readonly history: object = {}
  readonly closedAt: number[] = []
  readonly pingedAt: number[] = []
  readonly gateway: SimulatedGateway
  answerMs: number | null = null

  constructor() {
    this.gateway = new SimulatedGateway(this, 0, fakeKey(1, 0), START_MS, 2)
    this.gateway.start()
    this.gateway.linkUp(LINK, 1)
    this.gateway.frame(LINK, encodeMessages([greeting()]))
  }

  peerIdOf(index: number): string {
    return peerIdOf(fakeKey(1, index))
  }

  closeLink(): void {
    this.closedAt.push(this.schedule.now)
  }

  members(): readonly Writer[] {
    return [0, 1].map((index) => ({ origin: this.peerIdOf(index), since: 0 }))
  }

  isSigned(): boolean {
    return true
  }

  send(_from: number, _link: number, bytes: Uint8Array): void {
    const messages = decodeMessages(bytes)
    assert.ok(messages.ok)
    for (const message of messages.value) {
      if (message.type !== 'ping' || message.isReply) continue
      this.pingedAt.push(this.schedule.now)
      const { nonce } = message
      if (this.answerMs !== null) this.schedule.after(this.answerMs, () => this.say({ ...PING, nonce, isReply: true }))
    }
  }

  say(message: Message): void {
    this.gateway.frame(LINK, encodeMessages([message]))
  }

  acknowledged(): void {}
  stopped(): void {}
  event(): void {}
  stored(): void {}
  dropped(): void {}
}

test('a link that is given up is asked to be closed once with each ping that is due, not all the time', () => {
  const world = new SilentWorld()
  world.schedule.runUntil(MINUTES * 60_000)
  assert.ok(world.closedAt.length > 0, 'it was never given up')
  for (const [i, at] of world.closedAt.entries()) {
    const before = world.closedAt[i - 1]
    if (before !== undefined) assert.ok(at - before >= PING_MS, `it was asked for after ${at - before} ms again`)
  }
})

test('a neighbour that answered at once and falls silent is given up sooner than one that never answered', () => {
  const world = new SilentWorld()
  world.answerMs = 5
  world.schedule.runUntil(59_000)
  assert.equal(world.pingedAt.length, 4)
  world.answerMs = null
  world.schedule.runUntil(120_000)
  const [first] = world.closedAt
  // It may have fallen silent just after an answer: then 15 s pass until the next ping.
  assert.ok(first !== undefined && first <= 60_000 + 15_000 + 21_000, `at ${first}`)
  const never = new SilentWorld()
  never.schedule.runUntil(120_000)
  assert.ok((never.closedAt[0] ?? 0) >= 45_000, 'of what it may take nothing is known')
})

test('a neighbour whose answers come late all at once is not given up, and is pinged no more often when they go on so', () => {
  const world = new SilentWorld()
  world.answerMs = 5
  world.schedule.runUntil(59_000)
  world.answerMs = 10_000
  world.schedule.runUntil(1_200_000)
  assert.deepEqual(world.closedAt, [])
  const late = world.pingedAt.filter((at) => at >= 600_000)
  assert.ok(late.length <= 41, `${late.length} pings in ten minutes`)
})

test('a neighbour that goes on talking is given up for its answers no sooner than before', () => {
  const world = new SilentWorld()
  world.answerMs = 5
  world.schedule.runUntil(59_000)
  world.answerMs = null
  for (let at = 61_000; at < 300_000; at += 1_000) world.schedule.at(at, () => world.say(PING))
  world.schedule.runUntil(300_000)
  const [first] = world.closedAt
  const asked = world.pingedAt.filter((at) => at >= 60_000 && at < (first ?? 0))
  assert.ok(first !== undefined && first >= 60_000 + 45_000, `at ${first}`)
  assert.equal(asked.length, 3)
})

test('an answer to an earlier ping is a sign of life as well', () => {
  const world = new SilentWorld()
  world.answerMs = 20_000
  world.schedule.runUntil(600_000)
  assert.deepEqual(world.closedAt, [])
})

function greeting(): Message {
  return {
    type: 'hello',
    versions: [1, 1],
    features: ['heard'],
    instance: new Uint8Array(8).fill(1),
    lsn: 1,
    cursor: null,
    interest: ['*'],
    clock: { class: 2, hlc: hlcFromMs(START_MS) },
    credit: 1_048_576,
    name: 'silent',
    version: '1.0.0',
  }
}
