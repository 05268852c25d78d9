import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import { loadIdentity } from '../../runtime/identity/identity.ts'
import { admitNextKeys, loadNextKeys, makeNextKeys, takeNextKeys } from '../../runtime/identity/next-keys.ts'
import { initGateway } from '../../runtime/setup.ts'

test('new keys take the place of the old when they are admitted, whenever power goes', () => {
  const dir = mkdtempSync(join(tmpdir(), 'marram-next-keys-'))
  try {
    const file = (name: string): string => join(dir, 'identity', name)
    const { peerId: old } = initGateway({ dir, mesh: 'test' })
    const next = makeNextKeys(dir)
    assert.deepEqual(makeNextKeys(dir), next, 'those that wait are kept')
    takeNextKeys(dir)
    assert.equal(peerIdOf(loadIdentity(dir).keys.publicKey), old, 'nobody has admitted them')
    const chain = [new Uint8Array(3).fill(1)]
    admitNextKeys(dir, next, chain)
    for (const name of ['device.json', 'mesh.json', 'next.json']) copyFileSync(file(name), file(`${name}.old`))
    // Power went before the last step, and before that of the key; whatever was done is done again.
    for (const undone of [[], ['next.json'], ['next.json', 'device.json'], ['next.json', 'device.json', 'mesh.json']]) {
      for (const name of undone) copyFileSync(file(`${name}.old`), file(name))
      takeNextKeys(dir)
      const { keys, mesh } = loadIdentity(dir)
      assert.deepEqual(keys, next.keys, undone.join())
      assert.deepEqual([mesh.chain, mesh.succeeds], [chain, old], undone.join())
      assert.ok(!existsSync(file('next.json')))
      assert.equal(loadNextKeys(dir), null)
    }
  } finally {
    rmSync(dir, { recursive: true })
  }
})
