import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concat, fromHex, hex, utf8 } from '../../runtime/base/bytes.ts'
import { openSealed, sealTo } from '../../runtime/crypto/hpke.ts'
import { deviceKeysFrom } from '../../runtime/crypto/identity.ts'
import { readVectors } from '../vectors/read.ts'

interface Vector {
  readonly info: string
  readonly ikmE: string
  readonly pkRm: string
  readonly skRm: string
  readonly enc: string
  readonly encryptions: readonly { readonly aad: string; readonly pt: string; readonly ct: string }[]
}

const bytes = (text: string): Uint8Array => fromHex(text) as Uint8Array

test('seals and opens the message of RFC 9180 A.2.1 to the byte', async () => {
  const vector = readVectors('rfc9180-a2-base.json') as Vector
  const [first] = vector.encryptions
  assert.ok(first)
  const binding = { info: bytes(vector.info), aad: bytes(first.aad) }
  const sealed = concat(bytes(vector.enc), bytes(first.ct))
  const opened = await openSealed(bytes(vector.skRm), binding, sealed)
  assert.equal(opened && hex(opened), first.pt)
  const made = await sealTo(bytes(vector.pkRm), binding, bytes(first.pt), bytes(vector.ikmE))
  assert.equal(made && hex(made), hex(sealed))
})

test('opens only for its reader, under its binding, as it was made', async () => {
  const reader = deviceKeysFrom(new Uint8Array(32).fill(1), new Uint8Array(32).fill(2))
  const other = deviceKeysFrom(new Uint8Array(32).fill(1), new Uint8Array(32).fill(3))
  const binding = { info: utf8('for what'), aad: utf8('of what') }
  const message = new Uint8Array(32).fill(7)
  const sealed = (await sealTo(reader.linkPublicKey, binding, message)) as Uint8Array
  assert.equal(sealed.length, 80)
  assert.deepEqual(await openSealed(reader.linkSecretKey, binding, sealed), message)
  assert.notDeepEqual(await sealTo(reader.linkPublicKey, binding, message), sealed, 'each one has a key of its own')
  assert.equal(await openSealed(other.linkSecretKey, binding, sealed), null)
  assert.equal(await openSealed(reader.linkSecretKey, { ...binding, aad: utf8('of that') }, sealed), null)
  assert.equal(await openSealed(reader.linkSecretKey, { ...binding, info: utf8('for that') }, sealed), null)
  for (let at = 0; at < sealed.length; at += 7) {
    const damaged = Uint8Array.from(sealed)
    damaged[at] = (damaged[at] as number) ^ 1
    assert.equal(await openSealed(reader.linkSecretKey, binding, damaged), null)
    assert.equal(await openSealed(reader.linkSecretKey, binding, sealed.subarray(0, at)), null)
  }
})

test('to what is no key nothing is sealed', async () => {
  const binding = { info: utf8(''), aad: utf8('') }
  assert.equal(await sealTo(new Uint8Array(31), binding, utf8('m')), null)
  assert.equal(await sealTo(new Uint8Array(32), binding, utf8('m')), null, 'of small order')
})
