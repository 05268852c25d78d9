import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Keyring } from '../../runtime/access/keyring.ts'
import { newEpochKey } from '../../runtime/crypto/epoch-key.ts'
import { sha256 } from '../../runtime/crypto/hash.ts'
import { randomBytes } from '../../runtime/crypto/identity.ts'
import { createSigner } from '../../runtime/crypto/signature.ts'
import { FLAG_ENCRYPTED, type Batch, type BatchHeader, type Feed, type Ops } from '../../runtime/model/batch.ts'
import { NO_KEYS } from '../../runtime/model/keys.ts'
import { decodeBatch, encodeBatch, feedIdOfBatch, positionOfBatch, seqOfBatch } from '../../runtime/wire/batch.ts'
import { feedOf } from '../../runtime/wire/descriptor.ts'
import { readBody, type BodyKey } from '../../runtime/wire/encryption.ts'
import { FEED, HLC, KEYS, MESH, OPS } from './samples.ts'

const signer = createSigner(KEYS.secretKey)
const ENCRYPTED: Feed = feedOf(MESH, { ...FEED.descriptor, encrypted: true })
const epoch = newEpochKey(1)
const keyring = new Keyring([{ collection: 'climate', ...epoch }])
const [OPS_ONE] = OPS as [Ops]

function keyOf(feed: Feed): BodyKey {
  return { epoch: epoch.epoch, nonce: randomBytes(12), key: keyring.of(feed, epoch.epoch) as Uint8Array }
}

function batchOf(ops: Ops, feed: Feed = ENCRYPTED, key: BodyKey | null = keyOf(feed), seq = 300): Batch {
  const made = encodeBatch({
    meshId: MESH,
    feed,
    seq,
    prev: new Uint8Array(32).fill(8),
    hlc: HLC,
    ops,
    clockClass: 2,
    ...(key && { key }),
    sign: (message) => signer.sign(message),
  })
  assert.ok(made.ok)
  return made.value
}

/** What whoever holds the key makes of a batch whose header or body is another. */
function reading(header: BatchHeader, body: Uint8Array, feed: Feed = ENCRYPTED): string {
  const ops = readBody(feed, header, body, keyring)
  return ops.ok ? 'it is read' : `${ops.error.code}: ${ops.error.message}`
}

test('an encrypted batch is read with its key, and by nobody without it', () => {
  for (const ops of OPS) {
    const { bytes } = batchOf(ops)
    const batch = decodeBatch(MESH, bytes)
    assert.ok(batch.ok)
    const { header, body } = batch.value
    const clear = batchOf(ops, FEED, null)
    assert.equal(body.length, clear.body.length + 16)
    assert.equal(header.flags, clear.header.flags | FLAG_ENCRYPTED)
    assert.deepEqual(readBody(ENCRYPTED, header, body, keyring), readBody(FEED, clear.header, clear.body, NO_KEYS))
    const locked = readBody(ENCRYPTED, header, body, NO_KEYS)
    assert.equal(!locked.ok && locked.error.code, 'no-key')
    assert.equal(Buffer.from(bytes).includes('kitchen') || Buffer.from(bytes).includes('temperature'), false)
  }
})

test('where it stands is read of its bytes as of any other', () => {
  for (const seq of [1, 23, 24, 255, 256, 65_536, 2 ** 33]) {
    const batch = batchOf(OPS_ONE, ENCRYPTED, keyOf(ENCRYPTED), seq)
    assert.equal(seqOfBatch(batch.bytes), seq)
    assert.deepEqual(feedIdOfBatch(batch.bytes), ENCRYPTED.id)
    assert.deepEqual(positionOfBatch(batch.bytes), { seq, hash: batch.hash, hlc: HLC })
  }
})

test('a body, a nonce or any bound field that is another does not open', () => {
  const { header, body } = batchOf(OPS_ONE)
  const encryption = header.encryption as NonNullable<BatchHeader['encryption']>
  const others: readonly Partial<BatchHeader>[] = [
    { encryption: { ...encryption, nonce: new Uint8Array(12) } },
    { feedId: FEED.id },
    { seq: header.seq + 1 },
    { prev: new Uint8Array(32) },
    { hlc: header.hlc + 1 },
    { flags: header.flags ^ (1 << 4) },
  ]
  assert.equal(reading(header, body), 'it is read')
  for (const other of others)
    assert.match(reading({ ...header, ...other }, body), /bad-request: .*does not open with the key/)
  const damaged = Uint8Array.from(body)
  damaged[3] = (damaged[3] as number) ^ 1
  assert.match(reading(header, damaged), /not the one that was signed/)
  const signed = { ...header, bodyHash: sha256(damaged) }
  assert.match(reading(signed, damaged), /does not open with the key/, 'signed by its author as it is')
})

test('another epoch’s key is none of this batch, and a wrong key of the same name is never taken', () => {
  const { header, body } = batchOf(OPS_ONE)
  const other = new Keyring([{ collection: 'climate', ...newEpochKey(1) }])
  const locked = readBody(ENCRYPTED, header, body, other)
  assert.equal(!locked.ok && locked.error.code, 'no-key')
  assert.equal(new Keyring().add({ collection: 'climate', epoch: epoch.epoch, key: new Uint8Array(32) }), false)
  assert.equal(
    new Keyring([{ collection: 'plugs', ...epoch }]).of(ENCRYPTED, epoch.epoch),
    null,
    'of that collection alone',
  )
})

test('what isn’t encrypted as its feed says changes nothing, whoever reads it', () => {
  const plain = batchOf(OPS_ONE, ENCRYPTED, null)
  assert.match(reading(plain.header, plain.body), /bad-request: .*not encrypted as its feed is/)
  const encrypted = batchOf(OPS_ONE, FEED, keyOf(FEED))
  assert.match(reading(encrypted.header, encrypted.body, FEED), /not encrypted as its feed is/)
  const nameless = { ...batchOf(OPS_ONE).header }
  delete (nameless as { encryption?: unknown }).encryption
  assert.match(reading(nameless, batchOf(OPS_ONE).body), /does not say with which key/)
})
