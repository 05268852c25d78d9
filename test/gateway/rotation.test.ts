import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Rotation, type RotationOptions } from '../../runtime/gateway/rotation.ts'
import { loadNextKeys } from '../../runtime/identity/next-keys.ts'
import type { Membership } from '../../runtime/operations/membership.ts'
import type { Rotations } from '../../runtime/operations/rotations.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { initGateway } from '../../runtime/setup.ts'

/** A gateway whose mesh has admitted its new keys; the chain is what a document says, which the authority judges. */
class Bench {
  readonly dir = mkdtempSync(join(tmpdir(), 'marram-test-'))
  isSound = true
  isClockRight = true
  isHandedOver = true
  isClosed = false
  admissions = 0
  readonly said: string[] = []
  atMs = 0
  rotation: Rotation

  constructor(t: TestContext) {
    t.after(() => rmSync(this.dir, { recursive: true, force: true }))
    initGateway({ dir: this.dir, mesh: 'test' })
    this.rotation = this.started()
  }

  /** As another process finds it. */
  started(): Rotation {
    const authority = {
      admit: () => (this.isSound ? { capability: { subject: this.nextKey }, isNew: false } : null),
    } as unknown as RotationOptions['authority']
    this.rotation = new Rotation({
      dir: this.dir,
      authority,
      rotations: { ask: async () => {}, step: async () => {} } as unknown as Rotations,
      membership: { chainOf: () => [new Uint8Array(1)] } as unknown as Membership,
      belongs: () => true,
      isClockRight: () => this.isClockRight,
      isHandedOver: () => this.isHandedOver,
      isClosed: () => this.isClosed,
      onAdmitted: () => (this.admissions += 1),
      log: { ...SILENT_LOG, warn: (event) => void this.said.push(event) },
      monotonicMs: () => this.atMs,
    })
    return this.rotation
  }

  get nextKey(): Uint8Array | undefined {
    return loadNextKeys(this.dir)?.keys.publicKey
  }

  /** Whether the next start goes by the new keys. */
  get isTaken(): boolean {
    return loadNextKeys(this.dir)?.chain !== null
  }
}

test('new keys are taken once, when the gateway has stopped', async (t) => {
  const bench = new Bench(t)
  await bench.rotation.ask()
  await bench.rotation.step()
  await bench.rotation.step()
  assert.deepEqual([bench.admissions, bench.isTaken], [1, false])
  await bench.rotation.finish()
  assert.equal(bench.isTaken, true)
})

for (const [what, unfulfilled] of [
  ['what is said to admit them does not lead to the root', 'isSound'],
  ['the clock is ahead', 'isClockRight'],
  ['nobody else has what only the old keys would keep', 'isHandedOver'],
] as const)
  test(`new keys are not taken while ${what}`, async (t) => {
    const bench = new Bench(t)
    await bench.rotation.ask()
    bench[unfulfilled] = false
    await bench.rotation.step()
    await bench.rotation.finish()
    assert.deepEqual([bench.admissions, bench.isTaken], [0, false])
    bench[unfulfilled] = true
    await bench.rotation.step()
    assert.equal(bench.admissions, 1)
  })

test('what was written while the gateway stopped goes first; then it tries again, after a while', async (t) => {
  const bench = new Bench(t)
  await bench.rotation.ask()
  await bench.rotation.step()
  bench.isHandedOver = false
  await bench.rotation.finish()
  assert.equal(bench.isTaken, false)
  bench.isHandedOver = true
  bench.started()
  await bench.rotation.step()
  assert.equal(bench.admissions, 1, 'at once it would begin again and again')
  bench.atMs = 15_000
  await bench.rotation.step()
  assert.equal(bench.admissions, 2)
  await bench.rotation.finish()
  assert.equal(bench.isTaken, true)
})

test('keys are not asked for while the clock is ahead', async (t) => {
  const bench = new Bench(t)
  bench.isClockRight = false
  await assert.rejects(bench.rotation.ask(), { code: 'not-permitted' })
  assert.equal(bench.nextKey, undefined)
})

test('a card that does not take the new keys keeps the gateway from nothing: it begins again under the old ones', async (t) => {
  const bench = new Bench(t)
  await bench.rotation.ask()
  await bench.rotation.step()
  rmSync(join(bench.dir, 'identity'), { recursive: true })
  writeFileSync(join(bench.dir, 'identity'), 'no folder can be made here')
  await bench.rotation.finish()
  assert.ok(bench.said.includes('keys-not-replaced'))
})

test('new keys that were removed before they were taken are never taken, and others can be asked for', async (t) => {
  const bench = new Bench(t)
  const { peerId } = await bench.rotation.ask()
  bench.isClosed = true
  await bench.rotation.step()
  assert.deepEqual([bench.admissions, bench.nextKey, bench.rotation.warning], [0, undefined, null])
  bench.isClosed = false
  assert.notEqual((await bench.rotation.ask()).peerId, peerId)
})
