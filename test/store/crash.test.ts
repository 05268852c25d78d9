import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { randomInteger, seededRandom } from '../../runtime/base/random.ts'
import { createVerifier } from '../../runtime/crypto/signature.ts'
import { verifyStore } from '../../runtime/store/verify.ts'
import { Author, MESH_ID } from '../contract/author.ts'
import { openTestStore } from './disk-fixture.ts'

const ROUNDS = 20
const WRITER = fileURLToPath(new URL('crash-writer.js', import.meta.url))
const verifier = createVerifier()

/** Runs the writer until it has acknowledged `count` appends, kills it, and returns the last sequence each author was told. */
function killedAfter(dir: string, seed: number, count: number): Promise<Map<string, number>> {
  return new Promise((resolve, reject) => {
    const writer = spawn(process.execPath, [WRITER, dir, String(seed)], { stdio: ['ignore', 'pipe', 'inherit'] })
    let out = ''
    let lines = 0
    writer.stdout.on('data', (bytes: Buffer) => {
      out += bytes.toString('latin1')
      lines += bytes.filter((byte) => byte === 0x0a).length
      if (lines > count) writer.kill('SIGKILL')
    })
    writer.on('close', (code, signal) => {
      if (signal !== 'SIGKILL') return reject(new Error(`The writer ended by itself with ${code}`))
      const told = out.slice(0, out.lastIndexOf('\n')).split('\n').slice(1)
      resolve(new Map(told.map((line) => [line.split(' ')[0] as string, Number(line.split(' ')[1])])))
    })
  })
}

test(`nothing acknowledged is lost, and state is the fold of the batches, over ${ROUNDS} kills under load`, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'marram-crash-'))
  const random = seededRandom(20)
  let sweeps = 0
  for (let round = 0; round < ROUNDS; round++) {
    const told = await killedAfter(dir, round, randomInteger(random, 0, 120))
    // Looking without writing leaves the next writer to recover from the same remains.
    const store = await openTestStore(dir, { readOnly: random() < 0.6 })
    for (const [name, seq] of told) {
      const head = store.head(new Author(name).feed.key)
      assert.ok(head !== undefined && head.seq >= seq, `round ${round}: ${name} was told ${seq}, has ${head?.seq}`)
      const record = Buffer.from(store.getRecord(`last/${name}`) as Uint8Array).toString()
      assert.equal(Number(record), head.seq, `round ${round}: record and batches of an append came apart`)
    }
    const found = await verifyStore(store, {
      meshId: MESH_ID,
      // What was signed doesn't change from round to round; hash chains are checked in each.
      verify: (feed, { signed, signature }) =>
        round < ROUNDS - 1 || verifier.verify(feed.descriptor.publicKey, signed, signature),
    })
    assert.deepEqual({ bad: found.bad, differences: found.differences }, { bad: [], differences: 0 }, `round ${round}`)
    sweeps += store.status().bytes > 400_000 ? 1 : 0
    await store.close()
  }
  assert.ok(sweeps > 0, 'the writer has swept, or the test shows little')
  rmSync(dir, { recursive: true })
})
