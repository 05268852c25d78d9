import assert from 'node:assert/strict'
import { test } from 'node:test'
import { violations } from './checks.ts'
import { mutated, mutations } from './plant.ts'
import { Simulation, type Sometimes } from './simulation.ts'

const SEEDS = 30
const reached = new Map<Sometimes, number>()

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`a mesh under loss, reordering, partitions, power cuts and wrong clocks converges and keeps every acknowledged write (seed ${seed})`, () => {
    const simulation = new Simulation({ seed, gateways: 2 + (seed % 9), minutes: 3, forks: seed % 4 === 0 })
    simulation.run()
    for (const [name, count] of simulation.sometimes) reached.set(name, (reached.get(name) ?? 0) + count)
    assert.ok(simulation.acknowledgements.length > 0, 'nothing was written')
    assert.deepEqual(violations(simulation), [])
  })
}

test('the seeds of the gate reach every kind of trouble', () => {
  const kinds: Sometimes[] = [
    'link cut',
    'half-open link',
    'frame lost',
    'frames reordered',
    'power cut with unflushed appends',
    'partition',
    'disk full',
    'clock jump',
    'batch deferred',
    'resync',
    'checkpoint signed',
    'operations told again',
    'dead batches dropped',
    'tombstones collected',
    'feed jumped',
    'restored copy',
    'restored copy unnoticed',
    'cloned gateway',
    'fork proven',
    'feed cut',
    'own writes made again',
  ]
  assert.deepEqual(
    kinds.filter((kind) => !reached.has(kind)),
    [],
  )
})

test('every planted bug still applies to the compiled engine, at one place', () => {
  const known = mutations()
  assert.ok(known.length > 0)
  for (const mutation of known) assert.notEqual(mutated(mutation), '')
})

test('the same seed gives the same run, byte for byte, and another seed another', () => {
  const hash = (seed: number): string => {
    const simulation = new Simulation({ seed, gateways: 4, minutes: 1 })
    simulation.run()
    return simulation.traceHash
  }
  assert.equal(hash(77), hash(77))
  assert.notEqual(hash(77), hash(78))
})
