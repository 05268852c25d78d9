import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Writer } from '../../runtime/access/seals.ts'
import { seededRandom, type Random } from '../../runtime/base/random.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import { encodeMessages } from '../../runtime/wire/message.ts'
import { fakeKey, SimulatedGateway, type World } from './gateway.ts'
import { Schedule } from './schedule.ts'

const START_MS = Date.UTC(2026, 0, 1)
const LINK = 1
const PING_MS = 15_000
const MINUTES = 5

/** One gateway whose neighbour greets and is never heard again, and whose link stays up all the same. */
class SilentWorld implements World {
  readonly meshId: Uint8Array = new Uint8Array(16).fill(7)
  readonly random: Random = seededRandom(1)
  readonly schedule: Schedule = new Schedule()
  readonly history: object = {}
  readonly closedAt: number[] = []

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

  send(): void {}
  acknowledged(): void {}
  stopped(): void {}
  event(): void {}
  stored(): void {}
  dropped(): void {}
}

test('a link that is given up is asked to be closed once with each ping that is due, not all the time', () => {
  const world = new SilentWorld()
  const gateway = new SimulatedGateway(world, 0, fakeKey(1, 0), START_MS, 2)
  gateway.start()
  gateway.linkUp(LINK, 1)
  gateway.frame(LINK, encodeMessages([greeting()]))
  world.schedule.runUntil(MINUTES * 60_000)
  assert.ok(world.closedAt.length > 0, 'it was never given up')
  for (const [i, at] of world.closedAt.entries()) {
    const before = world.closedAt[i - 1]
    if (before !== undefined) assert.ok(at - before >= PING_MS, `it was asked for after ${at - before} ms again`)
  }
})

function greeting(): Parameters<typeof encodeMessages>[0][number] {
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
