import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import type { WriteOp } from '../../runtime/ports/writer.ts'
import type { SimulatedGateway } from '../simulation/gateway.ts'
import { Mesh } from '../simulation/mesh.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
/** As a clock with a battery is that was set to local time, or a wrong NTP server says. */
const BEHIND_MS = -11 * HOUR_MS
const AHEAD_MS = Date.UTC(2099, 0, 1) - Date.UTC(2026, 0, 1)
const PLACE = { collection: 'climate', partition: '' }

const put = (temperature: number, key = 'hall'): WriteOp => ({ kind: 'put', key, fields: { temperature } })

function shown({ disk }: SimulatedGateway, key = 'hall'): unknown {
  const document = disk.document(PLACE, key)
  return document && fieldsOf(document)
}

/** Something vouches for its clock all the same. */
function setOff(gateway: SimulatedGateway, ms: number): void {
  gateway.clockBaseMs = gateway.rightClockMs + ms
}

/** Nothing vouches for its clock. */
function blindfold(gateway: SimulatedGateway): void {
  gateway.trust = 0
  gateway.clockBaseMs = -1
}

function doubtOf({ engine }: SimulatedGateway): unknown {
  return engine?.view.isClockAhead === true ? engine.view.clockDoubt : 'not ahead'
}

/** The first gateway linked with all others, with so many neighbours. */
function star(neighbours: number): { readonly mesh: Mesh; readonly own: SimulatedGateway; readonly before: string } {
  const edges = Array.from({ length: neighbours }, (_, i) => [0, i + 1] as const)
  // One look at everything a minute will do for what takes a day.
  const history = { intervalMs: MINUTE_MS, beaconMs: MINUTE_MS, compareMs: MINUTE_MS }
  const mesh = new Mesh({ gateways: neighbours + 1, edges, engine: () => ({ history }) })
  const own = mesh.at(0)
  mesh.pass(20_000)
  return { mesh, own, before: hex(own.incarnation) }
}

/** The power is off for a moment. */
function restart(mesh: Mesh, gateway: SimulatedGateway): void {
  gateway.crash()
  gateway.start()
  mesh.stopped(gateway.index)
}

function isSealed(mesh: Mesh): boolean {
  return mesh.events.some(({ name }) => name === 'sealed' || name === 'reissued')
}

describe('a clock that is behind', () => {
  for (const behindMs of [61 * MINUTE_MS, 11 * HOUR_MS, 300 * DAY_MS]) {
    test(`SPEC I33: voids nothing as long as more that know the time contradict it, ${behindMs / MINUTE_MS} minutes`, () => {
      const { mesh, own, before } = star(2)
      mesh.at(1).write('climate', put(1))
      mesh.at(1).write('climate', put(1, 'gone'))
      mesh.pass(5_000)
      own.write('climate', put(2))
      own.write('climate', { kind: 'delete', key: 'gone' })
      mesh.pass(5_000)
      setOff(own, -behindMs)
      mesh.pass(20_000)
      assert.equal(doubtOf(own), 'outvoted')
      own.write('climate', put(3, 'attic'))
      mesh.pass(HOUR_MS)
      assert.deepEqual(shown(mesh.at(2), 'attic'), { temperature: 3 }, 'what it writes meanwhile is taken')
      setOff(own, 0)
      mesh.at(2).write('climate', put(4, 'attic'))
      mesh.pass(MINUTE_MS)
      assert.equal(doubtOf(own), 'not ahead')
      assert.equal(hex(own.incarnation), before)
      assert.ok(!isSealed(mesh))
      for (const gateway of mesh.gateways) {
        assert.deepEqual([shown(gateway), shown(gateway, 'attic')], [{ temperature: 2 }, { temperature: 4 }])
        assert.deepEqual(shown(gateway, 'gone') ?? {}, {})
      }
    })
  }

  test('counts what neighbours have said also when their links go', () => {
    const { mesh, own, before } = star(2)
    own.write('climate', put(1))
    mesh.pass(MINUTE_MS)
    mesh.linkDown(0)
    mesh.linkDown(1)
    setOff(own, BEHIND_MS)
    mesh.pass(2 * HOUR_MS)
    assert.equal(doubtOf(own), 'outvoted')
    assert.equal(hex(own.incarnation), before)
  })

  test('waits for a day though the power is cut and none of those that contradicted it is in reach', () => {
    for (const neighbours of [1, 2]) {
      const { mesh, own, before } = star(neighbours)
      own.write('climate', put(1))
      mesh.pass(MINUTE_MS)
      setOff(own, -10 * DAY_MS)
      mesh.pass(MINUTE_MS)
      for (let i = 1; i <= neighbours; i++) mesh.vanish(i)
      restart(mesh, own)
      mesh.pass(DAY_MS - HOUR_MS)
      assert.equal(doubtOf(own), 'tied')
      assert.equal(hex(own.incarnation), before)
      mesh.pass(2 * HOUR_MS)
      assert.notEqual(hex(own.incarnation), before)
    }
  })

  test('has its neighbours heard when it is started behind', () => {
    const { mesh, own, before } = star(2)
    mesh.pass(10 * MINUTE_MS)
    own.write('climate', put(1))
    mesh.pass(MINUTE_MS)
    setOff(own, BEHIND_MS)
    own.crash()
    own.start()
    mesh.pass(MINUTE_MS)
    assert.equal(doubtOf(own), 'alone')
    mesh.stopped(0)
    mesh.pass(HOUR_MS)
    assert.equal(doubtOf(own), 'outvoted')
    assert.equal(hex(own.incarnation), before)
  })

  test('without neighbours that know the time voids nothing when it is put right soon', () => {
    const { mesh, own, before } = star(1)
    blindfold(mesh.at(1))
    restart(mesh, own)
    own.write('climate', put(1))
    mesh.pass(MINUTE_MS)
    setOff(own, BEHIND_MS)
    mesh.pass(4 * MINUTE_MS)
    assert.equal(doubtOf(own), 'alone')
    setOff(own, 0)
    mesh.pass(10 * MINUTE_MS)
    assert.equal(hex(own.incarnation), before)
    assert.ok(!isSealed(mesh))
  })
})

describe('a clock that ran ahead', () => {
  test('is set back at once where a neighbour says that it is ahead', () => {
    const { mesh, own, before } = star(1)
    setOff(own, AHEAD_MS)
    mesh.pass(MINUTE_MS)
    own.write('climate', put(1))
    mesh.pass(MINUTE_MS)
    setOff(own, 0)
    mesh.pass(MINUTE_MS)
    assert.notEqual(hex(own.incarnation), before)
    assert.deepEqual(shown(mesh.at(1)), { temperature: 1 })
  })

  test('is set back on its own word when that has stayed the same for some minutes', () => {
    const { mesh, own, before } = star(0)
    setOff(own, AHEAD_MS)
    own.write('climate', put(1))
    mesh.pass(MINUTE_MS)
    setOff(own, 0)
    mesh.pass(4 * MINUTE_MS)
    assert.equal(hex(own.incarnation), before)
    mesh.pass(2 * MINUTE_MS)
    assert.notEqual(hex(own.incarnation), before)
  })

  test('is held up for a day at most by one neighbour that lies, however often the power is cut', () => {
    for (const cuts of [0, 5]) {
      const { mesh, own, before } = star(1)
      setOff(own, AHEAD_MS)
      setOff(mesh.at(1), AHEAD_MS)
      own.write('climate', put(1))
      mesh.pass(MINUTE_MS)
      setOff(own, 0)
      mesh.pass(MINUTE_MS)
      assert.equal(doubtOf(own), 'tied')
      for (let cut = 0; cut < cuts; cut++) {
        mesh.pass(1.5 * HOUR_MS)
        restart(mesh, own)
      }
      mesh.pass(HOUR_MS)
      assert.equal(doubtOf(own), 'tied')
      assert.equal(hex(own.incarnation), before)
      mesh.pass(DAY_MS - cuts * HOUR_MS)
      assert.notEqual(hex(own.incarnation), before)
    }
  })

  test('waits for a day anew when the clocks have agreed between', () => {
    const { mesh, own, before } = star(1)
    own.write('climate', put(1))
    mesh.pass(MINUTE_MS)
    for (let i = 0; i < 2; i++) {
      setOff(own, -10 * DAY_MS)
      mesh.pass(DAY_MS - HOUR_MS)
      assert.equal(doubtOf(own), 'tied')
      setOff(own, 0)
      mesh.pass(MINUTE_MS)
      own.write('climate', put(2))
      mesh.pass(MINUTE_MS)
    }
    assert.equal(hex(own.incarnation), before)
  })
})

test('of two neighbours that differ the one that says the earlier voids nothing for a day', () => {
  const { mesh, own, before } = star(2)
  blindfold(own)
  restart(mesh, own)
  mesh.pass(MINUTE_MS)
  own.write('climate', put(1))
  mesh.pass(MINUTE_MS)
  setOff(mesh.at(1), BEHIND_MS)
  mesh.pass(MINUTE_MS)
  assert.equal(doubtOf(own), 'tied')
  mesh.pass(DAY_MS)
  assert.equal(doubtOf(own), 'not ahead', 'no stamp is ahead of that time any more')
  assert.equal(hex(own.incarnation), before)
})

test('who has no clock is set back soon when the one neighbour that had said something wrong, before the power was cut, says what is right', () => {
  const { mesh, own, before } = star(1)
  const neighbour = mesh.at(1)
  blindfold(own)
  restart(mesh, own)
  setOff(neighbour, AHEAD_MS)
  mesh.pass(MINUTE_MS)
  own.write('climate', put(1))
  setOff(neighbour, 0)
  mesh.pass(MINUTE_MS)
  assert.equal(doubtOf(own), 'alone')
  setOff(neighbour, AHEAD_MS)
  for (let s = 0; s < 60 && own.disk.getRecord('sync/tied') === undefined; s++) mesh.pass(1_000)
  restart(mesh, own)
  setOff(neighbour, 0)
  mesh.pass(10 * MINUTE_MS)
  assert.notEqual(hex(own.incarnation), before)
  assert.deepEqual(shown(neighbour), { temperature: 1 })
})
