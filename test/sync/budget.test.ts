import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { randomInteger } from '../../runtime/base/random.ts'
import { Budget, BUDGET_KEY } from '../../runtime/sync/budget.ts'
import { Mesh } from '../simulation/mesh.ts'

const KIB = 1_024
const DAY_MS = 86_400_000

/** The first of three gateways has a budget; what it sent, by virtual time. */
function meshWith(bytesPerSecond: number | null, bytesPerDay: number | null): { mesh: Mesh; sent: [number, number][] } {
  const sent: [number, number][] = []
  let now = (): number => 0
  const mesh = new Mesh({
    gateways: 3,
    edges: [
      [0, 1],
      [0, 2],
    ],
    // With beacons as seldom as on real gateways.
    engine: (index) => ({
      history: {},
      flow: {
        priority: new Map([['alarms', 'urgent'] as const]),
        ...(index === 0 && { budget: { bytesPerSecond, bytesPerDay } }),
      },
    }),
    onFrame: (from, _, bytes) => {
      if (from === 0) sent.push([now(), bytes.length])
    },
  })
  now = () => mesh.schedule.now
  mesh.pass(2_000)
  return { mesh, sent }
}

/** So many batches of about 20 kB. */
function writeBulk(mesh: Mesh, batches: number): void {
  for (let i = 0; i < batches; i++) {
    const noise = new Uint8Array(20_000).map(() => randomInteger(mesh.random, 0, 255))
    mesh.at(0).write('bulk', { kind: 'put', key: `key-${i}`, fields: { noise } })
    mesh.pass(30)
  }
}

function has(mesh: Mesh, index: number, collection: string, key: string): boolean {
  return mesh.at(index).disk.document({ collection, partition: '' }, key) !== undefined
}

function heldOf(mesh: Mesh, index: number, batches: number): number {
  return Array.from({ length: batches }, (_, i) => has(mesh, index, 'bulk', `key-${i}`)).filter(Boolean).length
}

function bytesFrom(sent: readonly (readonly [number, number])[], from: number): number {
  return sent.reduce((sum, [at, bytes]) => sum + (at >= from ? bytes : 0), 0)
}

describe('a budget of bytes a second', () => {
  test('is kept over all links together, and in the end all have everything', () => {
    const { mesh, sent } = meshWith(32 * KIB, null)
    writeBulk(mesh, 30)
    const from = mesh.schedule.now
    mesh.pass(20_000)
    const bytes = bytesFrom(sent, from)
    assert.ok(bytes > 15 * 32 * KIB && bytes < 25 * 32 * KIB, `${bytes} bytes in 20 s`)
    mesh.pass(60_000)
    for (const index of [1, 2]) assert.ok(has(mesh, index, 'bulk', 'key-29'), `gateway ${index} lacks the last one`)
  })

  test('lets feeds of one class take turns', () => {
    const { mesh } = meshWith(16 * KIB, null)
    writeBulk(mesh, 25)
    mesh.at(0).write('climate', { kind: 'put', key: 'kitchen', fields: { on: true } })
    mesh.pass(20_000)
    for (const index of [1, 2]) {
      assert.ok(has(mesh, index, 'climate', 'kitchen'), `gateway ${index} lacks it`)
      assert.ok(!has(mesh, index, 'bulk', 'key-24'), 'there was nothing to overtake')
    }
  })

  test('lets links take turns by what they were sent, however often something else happens in between', () => {
    for (let rate = 8; rate <= 32; rate += 2) {
      const { mesh } = meshWith(rate * KIB, null)
      writeBulk(mesh, 40)
      mesh.pass(15_000)
      const [one, other] = [1, 2].map((index) => heldOf(mesh, index, 40))
      assert.ok(Math.abs((one as number) - (other as number)) <= 4, `${one} and ${other} of 40 at ${rate} KiB/s`)
    }
  })

  test('does not hold up what is urgent', () => {
    const { mesh } = meshWith(8 * KIB, null)
    writeBulk(mesh, 30)
    mesh.pass(5_000)
    mesh.at(0).write('alarms', { kind: 'put', key: 'fire', fields: { on: true } })
    mesh.pass(500)
    for (const index of [1, 2]) {
      assert.ok(has(mesh, index, 'alarms', 'fire'), `gateway ${index} does not hear of it`)
      assert.ok(!has(mesh, index, 'bulk', 'key-29'), 'there was nothing to overtake')
    }
  })
})

describe('a budget of bytes a day', () => {
  test('counts what others than the engine send over the links', () => {
    const { mesh } = meshWith(null, 64 * KIB)
    const { engine } = mesh.at(0)
    assert.ok(engine)
    const before = engine.view.budget?.sentToday ?? assert.fail()
    engine.handle(mesh.at(0).now(), { type: 'spent', bytes: 60 * KIB })
    assert.equal(engine.view.budget?.sentToday, before + 60 * KIB)
    writeBulk(mesh, 1)
    mesh.pass(10_000)
    assert.ok(!has(mesh, 1, 'bulk', 'key-0'), 'nine tenths of the day are spent')
  })

  test('leaves its last tenth to what is urgent', () => {
    const { mesh } = meshWith(null, 1_024 * KIB)
    writeBulk(mesh, 50)
    mesh.pass(60_000)
    mesh.at(0).write('alarms', { kind: 'put', key: 'fire', fields: { on: true } })
    mesh.pass(1_000)
    assert.ok(has(mesh, 1, 'alarms', 'fire'))
    assert.ok(!has(mesh, 1, 'bulk', 'key-49'))
    const sentToday = mesh.at(0).engine?.view.budget?.sentToday ?? 0
    assert.ok(sentToday > 900 * KIB && sentToday < 1_024 * KIB, `${sentToday} bytes`)
  })

  test('goes on after a restart where it stood, and begins anew when the day is over', () => {
    const options = { bytesPerSecond: null, bytesPerDay: 1_000 }
    const before = new Budget(options, undefined)
    assert.ok(before.allows(5_000, false))
    before.spend(5_000, 950)
    const [record] = before.record(5_000 + 3_600_000)
    assert.equal(record?.key, BUDGET_KEY)
    const after = new Budget(options, record?.value ?? undefined)
    assert.ok(!after.allows(100, false))
    assert.ok(after.allows(100, true))
    const { deadline } = after
    assert.equal(deadline, 100 + DAY_MS - 3_600_000)
    assert.ok(after.allows(deadline, false))
    assert.deepEqual(after.view(deadline), { ...options, sentToday: 0, dayEndsMs: DAY_MS })
  })
})
