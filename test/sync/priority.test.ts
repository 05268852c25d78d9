import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { latin1 } from '../../runtime/base/bytes.ts'
import { randomInteger } from '../../runtime/base/random.ts'
import type { Priority } from '../../runtime/sync/types.ts'
import { decodeBatch, seqOfBatch } from '../../runtime/wire/batch.ts'
import { Mesh } from '../simulation/mesh.ts'
import { promisesOf } from '../simulation/promises.ts'

/** Bytes a millisecond of a link: about 100 KiB a second. */
const SLOW = 100

interface Sent {
  readonly at: number
  readonly collection: string
  readonly bytes: number
}

/** Two gateways on a slow link; what was sent over it from the first one, in order. */
function twoGateways(priority: readonly (readonly [string, Priority])[]): { mesh: Mesh; sent: Sent[] } {
  const sent: Sent[] = []
  const mesh: Mesh = new Mesh({
    gateways: 2,
    edges: [[0, 1]],
    bytesPerMs: SLOW,
    engine: () => ({ flow: { priority: new Map(priority) } }),
    onFrame: (from, _, bytes) => {
      if (from !== 0) return
      for (const batch of promisesOf(bytes)?.batches ?? []) {
        sent.push({ at: mesh.schedule.now, collection: collectionOf(mesh, batch), bytes: batch.length })
      }
    },
  })
  mesh.pass(1_000)
  return { mesh, sent }
}

function collectionOf(mesh: Mesh, bytes: Uint8Array): string {
  const batch = decodeBatch(mesh.meshId, bytes)
  assert.ok(batch.ok && seqOfBatch(bytes) > 0)
  const feed = mesh
    .at(0)
    .disk.heads()
    .find((head) => head.feed.key === latin1(batch.value.header.feedId))
  return feed?.feed.descriptor.collection ?? ''
}

/** So many batches of about 20 kB. */
function write(mesh: Mesh, collection: string, batches: number): void {
  for (let i = 0; i < batches; i++) {
    const noise = new Uint8Array(20_000).map(() => randomInteger(mesh.random, 0, 255))
    mesh.at(0).write(collection, { kind: 'put', key: `key-${i}`, fields: { noise } })
    mesh.pass(0)
  }
}

/** Milliseconds until the other gateway has it on its disk. */
function waitFor(mesh: Mesh, collection: string, key: string): number {
  const from = mesh.schedule.now
  while (mesh.at(1).disk.document({ collection, partition: '' }, key) === undefined) {
    assert.ok(mesh.schedule.now < from + 600_000, `"${key}" of "${collection}" never came`)
    mesh.pass(10)
  }
  return mesh.schedule.now - from
}

describe('classes of priority on a link', () => {
  test('an urgent write overtakes a bulk catch-up on a slow link, and both get through', () => {
    const { mesh } = twoGateways([['alarms', 'urgent']])
    mesh.linkDown(0)
    write(mesh, 'bulk', 300)
    mesh.pass(10_000)
    mesh.linkUp(0)
    mesh.pass(10_000)
    mesh.at(0).write('alarms', { kind: 'put', key: 'fire', fields: { on: true } })
    const ms = waitFor(mesh, 'alarms', 'fire')
    assert.equal(mesh.at(1).disk.document({ collection: 'bulk', partition: '' }, 'key-299'), undefined, 'it was over')
    assert.ok(ms < 1_500, `it took ${ms} ms`)
    waitFor(mesh, 'bulk', 'key-299')
  })

  test('without a priority the live write of one feed is not starved by the catch-up of another', () => {
    const { mesh } = twoGateways([])
    mesh.linkDown(0)
    write(mesh, 'bulk', 300)
    mesh.pass(10_000)
    mesh.linkUp(0)
    mesh.pass(10_000)
    mesh.at(0).write('climate', { kind: 'put', key: 'kitchen', fields: { on: true } })
    const ms = waitFor(mesh, 'climate', 'kitchen')
    assert.ok(ms < 1_500, `it took ${ms} ms`)
  })

  test('when all have more than the link carries they share it 4 to 2 to 1, and none is starved', () => {
    const { mesh, sent } = twoGateways([
      ['high', 'high'],
      ['low', 'low'],
    ])
    mesh.linkDown(0)
    for (const collection of ['low', 'normal', 'high']) write(mesh, collection, 30)
    mesh.pass(10_000)
    sent.length = 0
    mesh.linkUp(0)
    mesh.pass(10_000)
    const bytesOf = (collection: string): number =>
      sent.filter((batch) => batch.collection === collection).reduce((sum, { bytes }) => sum + bytes, 0)
    const [high, normal, low] = [bytesOf('high'), bytesOf('normal'), bytesOf('low')]
    assert.ok(low > 0 && normal > low && high > normal, `${high}, ${normal}, ${low} bytes`)
  })
})
