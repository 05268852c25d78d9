import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromHex, hex, utf8 } from '../../runtime/base/bytes.ts'
import { PROTOCOL_LIMITS } from '../../runtime/base/limits.ts'
import { randomInteger, seededRandom } from '../../runtime/base/random.ts'
import { deviceKeysFrom } from '../../runtime/crypto/identity.ts'
import { createSigner, createVerifier } from '../../runtime/crypto/signature.ts'
import { decodeBatch, encodeBatch, feedIdOfBatch, positionOfBatch, seqOfBatch } from '../../runtime/wire/batch.ts'
import { decodeBody } from '../../runtime/wire/body.ts'
import { decodeDeterministic, encodeDeterministic, type Item } from '../../runtime/wire/deterministic.ts'
import { decodeDescriptor, encodeDescriptor, feedOf } from '../../runtime/wire/descriptor.ts'
import { decodeMessages, encodeMessages, type Message } from '../../runtime/wire/message.ts'
import { PacketLengthGuard } from '../../runtime/wire/packet-length.ts'

const MESH = new Uint8Array(16).fill(1)
const SECRET = new Uint8Array(32).fill(2)
const signer = createSigner(SECRET)
const feed = feedOf(MESH, {
  publicKey: signer.publicKey,
  incarnation: new Uint8Array(8).fill(3),
  collection: 'climate',
  partition: 'north',
  kind: 0,
  encrypted: false,
})

function sample(): Uint8Array {
  const made = encodeBatch({
    meshId: MESH,
    feed,
    seq: 1,
    prev: new Uint8Array(32),
    hlc: 387_868_000_000_000,
    ops: {
      docs: ['kitchen'],
      shapes: [{ kind: 0, paths: ['temperature', 'room'] }],
      opDocs: [0],
      opShapes: [0],
      values: [21.5, 'Küche'],
    },
    clockClass: 2,
    sign: (message) => signer.sign(message),
  })
  assert.ok(made.ok)
  return made.value.bytes
}

/** Version 1 on the wire: if this changes, gateways of before can't be understood, and it is another version. */
const GOLDEN = {
  feedId: '15ae3d70d25e9433ec2ab4d9d1f38905',
  batch:
    '828443a10132a0586ba7015015ae3d70d25e9433ec2ab4d9d1f3890502010358200000000000000000000000000000000000000000000000000000000000000000041b000160c38e5c1800055820d5d87ecb92996d2fe5d8efa99a4a191f35265979ded27e451f5bd473965b1515061831071820584034e6ee69278150c6d10a08b60cf34fa572dd19b589820360ff6db61afdd80f93a010a7c2119612ae56fa4adb0974b5a1b3d94843678ffc8c7612e0756506a10b58318581676b69746368656e8183006b74656d706572617475726564726f6f6df60082fb4035800000000000664bc3bc636865',
}

const MESSAGES: Message[] = [
  {
    type: 'hello',
    versions: [1, 1],
    features: ['heard'],
    instance: new Uint8Array(8).fill(1),
    lsn: 70_000,
    cursor: { instance: new Uint8Array(8).fill(2), lsn: 5 },
    interest: ['*'],
    clock: { class: 2, hlc: 387_868_000_000_000 },
    credit: 1_048_576,
    name: 'greenhouse',
    version: '0.1.0',
  },
  { type: 'feed', alias: 0, descriptor: encodeDescriptor(feed.descriptor), chain: [utf8('chain')] },
  { type: 'have', entries: [[0, 7, new Uint8Array(8)]], marker: { lsn: 9, frames: 3 } },
  { type: 'have', entries: [], marker: null },
  { type: 'want', entries: [[0, 1, 1]] },
  { type: 'data', batches: [sample()] },
  { type: 'ack', lsn: 9, credit: 5, entries: [[0, 7]] },
  { type: 'nack', alias: 0, seq: 3, code: 'future', retryAfterMs: 60_000 },
  { type: 'ping', nonce: 1, isReply: false, digest: new Uint8Array(8), sentBytes: 2 ** 40 },
  { type: 'bye', reason: 'used', retryAfterMs: 0 },
  {
    type: 'join',
    inviteId: new Uint8Array(8),
    secret: new Uint8Array(16),
    publicKey: new Uint8Array(32),
    linkKey: new Uint8Array(32),
    name: 'n',
    signature: new Uint8Array(64),
  },
  { type: 'grant', chain: [utf8('a'), utf8('b')], addresses: ['mqtt://10.0.0.2:1883'] },
]

test('a batch decodes to what was signed, and its bytes are those of version 1', () => {
  const bytes = sample()
  const batch = decodeBatch(MESH, bytes)
  assert.ok(batch.ok)
  assert.ok(createVerifier().verify(signer.publicKey, batch.value.signed, batch.value.signature))
  const ops = decodeBody(batch.value.header, batch.value.body)
  assert.ok(ops.ok)
  assert.deepEqual(ops.value.values, [21.5, 'Küche'])
  assert.equal(hex(feed.id), GOLDEN.feedId)
  assert.equal(hex(bytes), GOLDEN.batch)
  assert.equal(feed.origin, feedOf(MESH, feed.descriptor).origin)
  assert.deepEqual(deviceKeysFrom(SECRET, SECRET).publicKey, signer.publicKey)
})

test('any byte of a batch that changes makes it malformed, unsigned, or of another body', () => {
  const sound = sample()
  const verifier = createVerifier()
  for (let at = 0; at < sound.length; at++) {
    const changed = sound.slice()
    changed[at] = (changed[at] as number) ^ 0x11
    const batch = decodeBatch(MESH, changed)
    if (!batch.ok) continue
    const { header, body, signed, signature } = batch.value
    assert.equal(
      verifier.verify(signer.publicKey, signed, signature) && decodeBody(header, body).ok,
      false,
      `byte ${at}`,
    )
  }
  const elsewhere = decodeBatch(new Uint8Array(16), sound)
  assert.ok(elsewhere.ok)
  assert.equal(
    verifier.verify(signer.publicKey, elsewhere.value.signed, elsewhere.value.signature),
    false,
    'another mesh',
  )
})

test('a header has room for what later versions say, and none for what moves its fields to other places', () => {
  const sound = decodeDeterministic(sample())
  assert.ok(sound.ok)
  const [[protectedHeader, unprotected, header, signature], body] = sound.value as [Item[], Item]
  const withExtra = (...extra: readonly (readonly [number, Item])[]): Uint8Array => {
    const fields = decodeDeterministic(header as Uint8Array)
    assert.ok(fields.ok)
    const longer = new Map([...(fields.value as Map<number, Item>), ...extra])
    return encodeDeterministic([
      [protectedHeader as Item, unprotected as Item, encodeDeterministic(longer), signature as Item],
      body,
    ])
  }
  const numbered = (count: number): (readonly [number, Item])[] => Array.from({ length: count }, (_, i) => [11 + i, 0])
  const longer = [withExtra([11, new Uint8Array(100)]), withExtra([-1, 0]), withExtra(...numbered(10))]
  for (const bytes of longer) {
    const batch = decodeBatch(MESH, bytes)
    assert.ok(batch.ok)
    assert.equal(seqOfBatch(bytes), batch.value.header.seq)
    assert.deepEqual(feedIdOfBatch(bytes), batch.value.header.feedId)
    const { hash, hlc } = positionOfBatch(bytes)
    assert.deepEqual([hash, hlc], [batch.value.hash, batch.value.header.hlc])
  }
  // A length of two bytes; a head of the map of two bytes; a key before that of the feed.
  for (const bytes of [withExtra([11, new Uint8Array(200)]), withExtra(...numbered(20)), withExtra([0, 0])])
    assert.equal(decodeBatch(MESH, bytes).ok, false)
})

test('a batch is of a sequence that has a next one: what comes behind it can be asked for', () => {
  const of = (seq: number): Uint8Array => {
    const made = encodeBatch({
      meshId: MESH,
      feed,
      seq,
      prev: new Uint8Array(32),
      hlc: 1,
      ops: { body: new Uint8Array(0), flags: 0 },
      clockClass: 2,
      sign: () => new Uint8Array(64),
    })
    assert.ok(made.ok)
    return made.value.bytes
  }
  const last = decodeBatch(MESH, of(PROTOCOL_LIMITS.sequenceMax))
  assert.ok(last.ok)
  const want = encodeMessages([{ type: 'want', entries: [[0, last.value.header.seq + 1, 1]] }])
  assert.ok(decodeMessages(want).ok)
  assert.equal(decodeBatch(MESH, of(PROTOCOL_LIMITS.sequenceMax + 1)).ok, false)
})

test('the longest header that a writer can make is one that everybody reads', () => {
  const [most, last] = [Number.MAX_SAFE_INTEGER, PROTOCOL_LIMITS.sequenceMax]
  const key = { epoch: most, key: new Uint8Array(32), nonce: new Uint8Array(12) }
  const batch = encodeBatch({
    meshId: MESH,
    feed: feedOf(MESH, { ...feed.descriptor, encrypted: true }),
    seq: last,
    prev: new Uint8Array(32).fill(1),
    hlc: most,
    ops: { body: new Uint8Array(40_000), flags: 0 },
    clockClass: 2,
    key,
    sign: () => new Uint8Array(64),
  })
  assert.ok(batch.ok)
  const read = decodeBatch(MESH, batch.value.bytes)
  assert.ok(read.ok)
  assert.deepEqual(read.value.header, batch.value.header)
  assert.deepEqual(positionOfBatch(batch.value.bytes), { seq: last, hash: batch.value.hash, hlc: most })
})

test('messages come back as they were said; later types and elements are passed over', () => {
  const read = decodeMessages(encodeMessages(MESSAGES))
  assert.ok(read.ok, read.ok ? '' : read.error.message)
  assert.equal(read.value.length, MESSAGES.length)
  read.value.forEach((message, i) =>
    assert.equal(hex(encodeMessages([message])), hex(encodeMessages([MESSAGES[i] as Message]))),
  )
  // [99, "later"], then [11, "x", 0, "more"].
  const later = decodeMessages(fromHex('821863656c61746572840b617800646d6f7265') as Uint8Array)
  assert.deepEqual(later, { ok: true, value: [{ type: 'bye', reason: 'x', retryAfterMs: 0 }] })
  for (const malformed of ['00', '80', '8100', '8102', '820301', 'f6'])
    assert.equal(decodeMessages(fromHex(malformed) as Uint8Array).ok, false, malformed)
})

test('descriptors are held to their form', () => {
  const sound = encodeDescriptor(feed.descriptor)
  assert.deepEqual(decodeDescriptor(sound), { ok: true, value: feed.descriptor })
  for (const wrong of [
    { collection: 'No Name' },
    { partition: 'x'.repeat(65) },
    { kind: 256 },
    { incarnation: new Uint8Array(7) },
  ]) {
    assert.equal(decodeDescriptor(encodeDescriptor({ ...feed.descriptor, ...wrong })).ok, false)
  }
})

test('no mutation of what travels makes a decoder throw or take long', () => {
  const random = seededRandom(11)
  const inputs = [sample(), encodeMessages(MESSAGES), encodeDescriptor(feed.descriptor)]
  let slowest = 0
  for (let i = 0; i < 20_000; i++) {
    const input = (inputs[i % inputs.length] as Uint8Array).slice(
      0,
      i % 7 === 0 ? randomInteger(random, 0, 200) : undefined,
    )
    for (let n = randomInteger(random, 1, 6); n > 0; n--)
      if (input.length > 0) input[randomInteger(random, 0, input.length - 1)] = randomInteger(random, 0, 255)
    const startedAt = performance.now()
    const batch = decodeBatch(MESH, input)
    if (batch.ok) decodeBody(batch.value.header, batch.value.body)
    decodeMessages(input)
    decodeDescriptor(input)
    slowest = Math.max(slowest, performance.now() - startedAt)
  }
  assert.ok(slowest < 1_000, `${slowest} ms`)
})

test('the length guard lets whole packets pass however they are cut, and stops at the header of one that is too long', () => {
  const packet = (length: number): number[] => {
    const head = [0x30]
    let rest = length
    do {
      head.push((rest & 127) | (rest > 127 ? 128 : 0))
      rest >>= 7
    } while (rest > 0)
    return [...head, ...Array.from({ length }, () => 0xff)]
  }
  const stream = Uint8Array.from([...packet(0), ...packet(1), ...packet(127), ...packet(128), ...packet(1_000)])
  for (const step of [1, 2, 3, 100, 5_000]) {
    const guard = new PacketLengthGuard(1_000)
    for (let at = 0; at < stream.length; at += step) assert.ok(guard.accept(stream.subarray(at, at + step)))
  }
  assert.equal(new PacketLengthGuard(1_000).accept(Uint8Array.from(packet(1_001).slice(0, 3))), false)
  assert.equal(
    new PacketLengthGuard(2 ** 40).accept(Uint8Array.of(0x10, 0xff, 0xff, 0xff, 0xff, 0x01)),
    false,
    'a length of five bytes',
  )
})
