import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Keyring } from '../../runtime/access/keyring.ts'
import { hex, utf8 } from '../../runtime/base/bytes.ts'
import { epochOf } from '../../runtime/crypto/epoch-key.ts'
import { sha256 } from '../../runtime/crypto/hash.ts'
import { deviceKeysFrom, peerIdOf } from '../../runtime/crypto/identity.ts'
import { createSession } from '../../runtime/crypto/session.ts'
import { createSigner, createVerifier } from '../../runtime/crypto/signature.ts'
import {
  OP_ADD,
  OP_COUNTER,
  OP_DELETE,
  OP_LINK,
  OP_PUT,
  OP_REMOVE,
  type Batch,
  type FeedDescriptor,
  type Ops,
} from '../../runtime/model/batch.ts'
import type { Capability } from '../../runtime/model/capability.ts'
import { FLAG_CHECKPOINT, type Checkpoint } from '../../runtime/model/checkpoint.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { decodeAddressRecord, encodeAddressRecord } from '../../runtime/wire/address-record.ts'
import { decodeBatch, encodeBatch } from '../../runtime/wire/batch.ts'
import { decodeBody } from '../../runtime/wire/body.ts'
import { encodeCapability, verifyChain } from '../../runtime/wire/capability.ts'
import { decodeCheckpoint, encodeCheckpoint } from '../../runtime/wire/checkpoint.ts'
import { decodeDescriptor, encodeDescriptor, feedOf } from '../../runtime/wire/descriptor.ts'
import { readBody } from '../../runtime/wire/encryption.ts'
import { decodeInvite, encodeInvite } from '../../runtime/wire/invite.ts'
import { decodeMessages, encodeMessages, type CellsEntry, type Message } from '../../runtime/wire/message.ts'
import { decodeAheadSeal, encodeAheadSeal } from '../../runtime/wire/ahead-seal.ts'
import { decodeProof, encodeProof } from '../../runtime/wire/proof.ts'
import { decodeTestimony, encodeTestimony } from '../../runtime/wire/testimony.ts'
import { golden, goldenNames } from './read.ts'

const MESH_ID = new Uint8Array(16).fill(0x11)
const root = deviceKeysFrom(new Uint8Array(32).fill(1), new Uint8Array(32).fill(2))
const author = deviceKeysFrom(new Uint8Array(32).fill(3), new Uint8Array(32).fill(4))
const verifier = createVerifier()
const descriptor: FeedDescriptor = {
  publicKey: author.publicKey,
  incarnation: new Uint8Array(8).fill(5),
  collection: 'climate',
  partition: 'north',
  kind: 0,
  encrypted: false,
}
const feed = feedOf(MESH_ID, descriptor)
const HLC = 2 ** 52

/** An operation of each kind, one told again under an older stamp, one over another's value. */
const ops: Ops = {
  docs: ['kitchen', 'hall'],
  shapes: [
    { kind: OP_PUT, paths: ['temperature', 'on'] },
    { kind: OP_REMOVE, paths: ['tags'] },
    { kind: OP_DELETE, paths: [] },
    { kind: OP_COUNTER, paths: ['total'] },
    { kind: OP_ADD, paths: ['tags'] },
    { kind: OP_LINK, paths: ['to'] },
  ],
  opDocs: [0, 0, 1, 0, 0, 0],
  opShapes: [0, 1, 2, 3, 4, 5],
  values: [21.5, null, [['e"a"', HLC - 9, 0, feed.origin]], [3, 1], ['a', 7], [['plugs', '', 'p1', 'feeds']]],
  stamps: [{ hlc: HLC - 2, index: 4 }, null, null, null, null, null],
  seen: [{ op: 0, path: 1, stamp: { hlc: HLC - 5, index: 2, origin: feed.origin } }],
}

const checkpoint: Checkpoint = {
  floor: 7,
  live: new SequenceSet([1, 2, 5, 5]),
  root: new Uint8Array(32).fill(8),
  before: { seq: 6, hash: new Uint8Array(32).fill(9), hlc: HLC - 1 },
  deps: [{ feedId: new Uint8Array(16).fill(10), seq: 300, hash8: new Uint8Array(8).fill(11) }],
  dropsTombstones: true,
}

const messages: { readonly [type in Message['type']]: Extract<Message, { type: type }> } = {
  hello: {
    type: 'hello',
    versions: [1, 1],
    features: ['heard'],
    instance: new Uint8Array(8).fill(5),
    lsn: 300,
    cursor: { instance: new Uint8Array(8).fill(6), lsn: 70_000 },
    interest: ['*'],
    clock: { class: 2, hlc: HLC },
    credit: 1_048_576,
    name: 'küche',
    version: '0.1.0',
  },
  feed: { type: 'feed', alias: 3, descriptor: encodeDescriptor(descriptor), chain: [new Uint8Array(4).fill(12)] },
  have: {
    type: 'have',
    entries: [
      [3, 300, new Uint8Array(8).fill(13)],
      [4, 9, new Uint8Array(8).fill(14), 7],
    ],
    marker: { lsn: 300, frames: 12 },
  },
  want: {
    type: 'want',
    entries: [
      [3, 1, 1],
      [4, 2, 0, [2, 5, 8, 8]],
    ],
  },
  data: { type: 'data', batches: [new Uint8Array(3).fill(15), new Uint8Array(2).fill(16)] },
  ack: { type: 'ack', lsn: 300, credit: 2_097_152, entries: [[3, 299]] },
  nack: { type: 'nack', alias: 3, seq: 301, code: 'future', retryAfterMs: 60_000 },
  ping: { type: 'ping', nonce: 5, isReply: true, digest: new Uint8Array(8).fill(17), sentBytes: 123_456 },
  dig: { type: 'dig', buckets: new Uint8Array(512).fill(18) },
  pex: { type: 'pex', records: [new Uint8Array(3).fill(28)] },
  cells: {
    type: 'cells',
    entries: [['climate', 'north', new Uint8Array(8).fill(25), new Uint8Array(8).fill(26), new Uint8Array(8).fill(27)]],
  },
  bye: { type: 'bye', reason: 'stopping', retryAfterMs: 1_000 },
  join: {
    type: 'join',
    inviteId: new Uint8Array(8).fill(19),
    secret: new Uint8Array(16).fill(20),
    publicKey: new Uint8Array(32).fill(21),
    linkKey: new Uint8Array(32).fill(22),
    name: 'shed',
    signature: new Uint8Array(64).fill(23),
  },
  grant: { type: 'grant', chain: [new Uint8Array(4).fill(24)], addresses: ['mqtt://10.0.0.1:1883'] },
  number: { type: 'number', number: 300 },
}

/** With elements that came later. */
const messagesWithMore: { readonly [name: string]: Message } = {
  'ack-lacking': { ...messages.ack, lacking: [3, 300] },
  'bye-addresses': { type: 'bye', reason: 'cannot-enrol', retryAfterMs: 0, addresses: ['mqtt://10.0.0.1:1883'] },
  'ping-clock': { ...messages.ping, clock: { class: 2, ms: 1_796_000_000_000 } },
  'cells-encrypted': {
    type: 'cells',
    entries: messages.cells.entries.map((entry): CellsEntry => [...entry, new Uint8Array(8).fill(31)] as never),
  },
  'have-numbered': { type: 'have', entries: [], marker: { lsn: 300, frames: 12, numbered: 11 } },
}

const capability: Capability = {
  issuer: root.publicKey,
  subject: author.publicKey,
  linkKey: author.linkPublicKey,
  notBefore: 5,
  expires: 2 ** 53 - 1,
  id: new Uint8Array(16).fill(25),
  grants: [{ pattern: 'climate/north', rights: 7 }],
  roles: ['gateway'],
  name: 'shed',
  invite: new Uint8Array(8).fill(19),
}

const invite = {
  meshId: MESH_ID,
  meshName: 'farm',
  rootPublicKey: root.publicKey,
  addresses: ['mqtt://10.0.0.1:1883'],
  inviteId: new Uint8Array(8).fill(19),
  secret: new Uint8Array(16).fill(20),
  expiry: 1_800_000_000_000,
}

const sign = (message: Uint8Array): Uint8Array => createSigner(author.secretKey).sign(message)

function batchOf(what: Ops | { readonly body: Uint8Array; readonly flags: number }, seq = 300, of = feed): Batch {
  const prev = sha256(utf8('the batch before'))
  const made = encodeBatch({ meshId: MESH_ID, feed: of, seq, prev, hlc: HLC, ops: what, clockClass: 2, sign })
  assert.ok(made.ok)
  return made.value
}

function decoded(name: string): Batch {
  const batch = decodeBatch(MESH_ID, golden(name))
  assert.ok(batch.ok)
  assert.ok(verifier.verify(author.publicKey, batch.value.signed, batch.value.signature), 'its signature verifies')
  return batch.value
}

function isGolden(name: string, bytes: Uint8Array): void {
  assert.equal(hex(bytes), hex(golden(name)), `${name} is other bytes than version 1 wrote`)
}

/** A change to any of these needs a new version: neighbours and stores of version 1 hold these bytes. */
describe('version 1 on the wire', () => {
  test('a batch with an operation of each kind', () => {
    isGolden('wire/batch', batchOf(ops).bytes)
    const { header, body } = decoded('wire/batch')
    assert.deepEqual([header.seq, header.hlc, header.flags, header.minReader], [300, HLC, 2 << 4, 1])
    assert.deepEqual(header.feedId, feed.id)
    assert.deepEqual(decodeBody(header, body), { ok: true, value: ops })
  })

  test('a batch with a compressed body, which other versions of zlib may write otherwise', () => {
    const { header, body } = decoded('wire/batch-compressed')
    assert.equal(header.flags, (2 << 4) | 1)
    const found = decodeBody(header, body)
    assert.ok(found.ok)
    assert.deepEqual(found.value.values, Array<number>(100).fill(1))
  })

  test('an encrypted batch, of the same operations', () => {
    const encrypted = feedOf(MESH_ID, { ...descriptor, encrypted: true })
    const key = new Uint8Array(32).fill(29)
    const keyring = new Keyring()
    const epoch = epochOf(7, key)
    assert.ok(keyring.add({ collection: 'climate', epoch, key }))
    const nonce = new Uint8Array(12).fill(30)
    const prev = sha256(utf8('the batch before'))
    const bodyKey = { epoch, nonce, key: keyring.of(encrypted, epoch) as Uint8Array }
    const made = encodeBatch({
      meshId: MESH_ID,
      feed: encrypted,
      seq: 300,
      prev,
      hlc: HLC,
      ops,
      clockClass: 2,
      key: bodyKey,
      sign,
    })
    assert.ok(made.ok)
    isGolden('wire/batch-encrypted', made.value.bytes)
    const { header, body } = decoded('wire/batch-encrypted')
    assert.deepEqual([header.flags, header.encryption], [(2 << 4) | 4, { epoch, nonce }])
    assert.deepEqual(readBody(encrypted, header, body, keyring), { ok: true, value: ops })
  })

  test('a checkpoint', () => {
    const { bytes } = batchOf({ body: encodeCheckpoint(checkpoint), flags: FLAG_CHECKPOINT })
    isGolden('wire/checkpoint', bytes)
    const { header, body } = decoded('wire/checkpoint')
    assert.deepEqual(decodeCheckpoint(header, body), { ok: true, value: checkpoint })
  })

  test('the proof of a fork', () => {
    const [a, b] = [batchOf(ops, 9), batchOf({ ...ops, values: [22, ...ops.values.slice(1)] }, 9)]
    isGolden('wire/proof', encodeProof(feed, a, b))
    const proof = decodeProof(MESH_ID, golden('wire/proof'))
    assert.ok(proof.ok)
    assert.deepEqual([proof.value.feed, proof.value.seq], [feed, 9])
    for (const { signed, signature } of proof.value.signed)
      assert.ok(verifier.verify(author.publicKey, signed, signature))
  })

  test('what is told on of a member’s words', () => {
    const self = feedOf(MESH_ID, { ...descriptor, collection: SELF_COLLECTION, partition: feed.origin })
    isGolden('wire/testimony', encodeTestimony(self, batchOf(ops, 9, self)))
    const testimony = decodeTestimony(MESH_ID, golden('wire/testimony'))
    assert.ok(testimony.ok)
    const { batch } = testimony.value
    assert.deepEqual(testimony.value, { feed: self, batch, ops })
    assert.ok(verifier.verify(author.publicKey, batch.signed, batch.signature))
    // Only what somebody says of itself.
    for (const other of [feed, feedOf(MESH_ID, { ...self.descriptor, partition: 'another' })])
      assert.equal(decodeTestimony(MESH_ID, encodeTestimony(other, batchOf(ops, 9, other))).ok, false)
  })

  test('the seal of a feed that ran ahead', () => {
    const first = batchOf(ops, 9)
    isGolden('wire/ahead-seal', encodeAheadSeal(feed, first, 7))
    const seal = decodeAheadSeal(MESH_ID, golden('wire/ahead-seal'))
    assert.ok(seal.ok)
    const { header, signed, signature } = seal.value.first
    assert.deepEqual([seal.value.feed, seal.value.from, header.seq], [feed, 7, 9])
    assert.ok(verifier.verify(author.publicKey, signed, signature))
    for (const from of [0, 10])
      assert.ok(!decodeAheadSeal(MESH_ID, encodeAheadSeal(feed, first, from)).ok, String(from))
  })

  test('a feed’s descriptor, and its id', () => {
    isGolden('wire/descriptor', encodeDescriptor(descriptor))
    isGolden('wire/feed-id', feed.id)
    assert.deepEqual(decodeDescriptor(golden('wire/descriptor')), { ok: true, value: descriptor })
  })

  test('a capability', () => {
    const bySigner = (message: Uint8Array): Uint8Array => createSigner(root.secretKey).sign(message)
    isGolden('wire/capability', encodeCapability(capability, MESH_ID, bySigner))
    const found = verifyChain(MESH_ID, root.publicKey, [golden('wire/capability')], verifier)
    assert.deepEqual(found, { ok: true, value: capability })
  })

  test('an address record', () => {
    const record = {
      publicKey: author.publicKey,
      number: 300,
      addresses: ['mqtt://10.0.0.1:1883'],
      links: ['a'.repeat(23), 'b'.repeat(23)],
    }
    const withCell = { ...record, cell: 'north', isSuperPeer: true, isMetered: true }
    isGolden('wire/address-record-cell', encodeAddressRecord(withCell, MESH_ID, sign))
    const withoutCell = { ...record, cell: '', isSuperPeer: false, isMetered: false }
    for (const [name, expected] of [
      ['wire/address-record-cell', withCell],
      // As it was before there were cells.
      ['wire/address-record', withoutCell],
    ] as const) {
      const read = decodeAddressRecord(MESH_ID, golden(name))
      assert.ok(read.ok, name)
      const { signed, signature, bytes, peerId, ...found } = read.value
      assert.deepEqual(found, expected)
      assert.deepEqual([bytes, peerId], [golden(name), peerIdOf(author.publicKey)])
      assert.ok(verifier.verify(author.publicKey, signed, signature), 'its signature verifies')
    }
  })

  test('an invite', () => {
    isGolden('wire/invite', utf8(encodeInvite(invite)))
    assert.deepEqual(decodeInvite(Buffer.from(golden('wire/invite')).toString()), { ok: true, value: invite })
  })

  for (const [type, message] of Object.entries({ ...messages, ...messagesWithMore })) {
    test(`the message ${type}`, () => {
      isGolden(`wire/message-${type}`, encodeMessages([message]))
      assert.deepEqual(decodeMessages(golden(`wire/message-${type}`)), { ok: true, value: [message] })
    })
  }

  test('a frame of two messages, sealed', () => {
    const [send, receive] = [new Uint8Array(32).fill(26), new Uint8Array(32).fill(27)]
    const plain = encodeMessages([messages.ping, messages.bye])
    isGolden('wire/frame', createSession({ id: 7, send, receive }).seal(plain))
    const opened = createSession({ id: 7, send: receive, receive: send }).open(golden('wire/frame'))
    assert.deepEqual(opened && decodeMessages(opened), { ok: true, value: [messages.ping, messages.bye] })
  })

  test('each golden file cut anywhere is a failure, never a throw', () => {
    for (const name of goldenNames('wire')) {
      const bytes = golden(name)
      for (let end = 0; end < bytes.length; end++) {
        const cut = bytes.subarray(0, end)
        for (const decode of [decodeMessages, decodeDescriptor]) decode(cut)
        assert.equal(decodeBatch(MESH_ID, cut).ok, false, name)
        assert.equal(decodeProof(MESH_ID, cut).ok, false, name)
        assert.equal(decodeTestimony(MESH_ID, cut).ok, false, name)
      }
    }
  })
})
