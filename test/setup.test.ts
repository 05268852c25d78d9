import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { peerIdOf } from '../runtime/crypto/identity.ts'
import { loadIdentity } from '../runtime/identity/identity.ts'

const ROUNDS = 200
const AT_ONCE = 2

/** In each round all of them make an identity in the same directory, as near to the same moment as can be. */
const MAKER = `
  const { parentPort, workerData } = require('node:worker_threads')
  const { root, setup, arrived, rounds, atOnce } = workerData
  import(setup).then(({ initGateway }) => {
    const counts = new Int32Array(arrived)
    const made = []
    for (let round = 0; round < rounds; round++) {
      Atomics.add(counts, round, 1)
      while (Atomics.load(counts, round) < atOnce);
      try {
        made.push(initGateway({ dir: root + '/' + round, mesh: 'm' }).peerId)
      } catch ({ code }) {
        made.push(code)
      }
    }
    parentPort.postMessage(made)
  })`

test('of several that make an identity in one directory at once one does, and its identity stays', async () => {
  const root = mkdtempSync(join(tmpdir(), 'marram-setup-'))
  try {
    const workerData = {
      root,
      setup: new URL('../runtime/setup.js', import.meta.url).href,
      arrived: new SharedArrayBuffer(4 * ROUNDS),
      rounds: ROUNDS,
      atOnce: AT_ONCE,
    }
    const makers = Array.from({ length: AT_ONCE }, () => new Worker(MAKER, { eval: true, workerData }))
    const answers = await Promise.all(
      makers.map((maker) => new Promise<string[]>((resolve) => maker.once('message', resolve))),
    )
    for (let round = 0; round < ROUNDS; round++) {
      const refusals = ['already-exists', 'in-use']
      const made = answers.map((answer) => answer[round] as string).filter((answer) => !refusals.includes(answer))
      assert.deepEqual(made, [peerIdOf(loadIdentity(join(root, `${round}`)).keys.publicKey)], `round ${round}`)
    }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})
