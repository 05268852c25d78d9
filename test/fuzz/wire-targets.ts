import { deflateRawSync } from 'node:zlib'
import { equal, utf8 } from '../../runtime/base/bytes.ts'
import { sha256 } from '../../runtime/crypto/hash.ts'
import type { Verifier } from '../../runtime/crypto/signature.ts'
import { PROTOCOL_LIMITS } from '../../runtime/base/limits.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import type { BatchHeader, Ops } from '../../runtime/model/batch.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { decodeAddressRecord } from '../../runtime/wire/address-record.ts'
import { decodeBatch, seqOfBatch } from '../../runtime/wire/batch.ts'
import { decodeBody, encodeBody } from '../../runtime/wire/body.ts'
import { verifyChain } from '../../runtime/wire/capability.ts'
import { decodeSequence, decodeValue, encodeValue } from '../../runtime/wire/cbor.ts'
import { decodeCheckpoint, encodeCheckpoint } from '../../runtime/wire/checkpoint.ts'
import { decodeDescriptor, encodeDescriptor, feedOf } from '../../runtime/wire/descriptor.ts'
import { decodeDeterministic, encodeDeterministic } from '../../runtime/wire/deterministic.ts'
import { encryptBody, readBody } from '../../runtime/wire/encryption.ts'
import { decodeInvite, encodeInvite } from '../../runtime/wire/invite.ts'
import { decodeMessages, encodeMessages } from '../../runtime/wire/message.ts'
import { PacketLengthGuard } from '../../runtime/wire/packet-length.ts'
import { decodeAheadSeal, encodeAheadSeal } from '../../runtime/wire/ahead-seal.ts'
import { decodeProof, encodeProof } from '../../runtime/wire/proof.ts'
import { decodeTestimony, encodeTestimony } from '../../runtime/wire/testimony.ts'
import { scan } from '../../runtime/wire/scan.ts'
import {
  ADDRESS_RECORD,
  BATCHES,
  BODY_KEY,
  CAPABILITY,
  CHECKPOINT,
  ENCRYPTED_FEED,
  FEED,
  HLC,
  INVITE,
  KEYRING,
  KEYS,
  MESH,
  MESSAGES,
  OPS,
  batchOf,
} from '../wire/samples.ts'
import { must, textOf, type Target } from './target.ts'

const SCAN = { depthMax: 8, itemsMax: 65_536, isSequence: true }
const BODIES: readonly Uint8Array[] = OPS.map((ops) => encodeValueOfBody(encodeBody(ops, HLC).body, ops))

/** Everything that comes from other gateways. */
export const WIRE_TARGETS: readonly Target[] = [
  {
    name: 'scan',
    form: 'cbor',
    samples: [...BODIES, encodeMessages(MESSAGES)],
    run: (input) => scan(input, SCAN).ok,
  },
  {
    name: 'value',
    form: 'cbor',
    samples: BODIES,
    run: (input) => {
      const read = decodeValue(input)
      // What was taken can be written again, and is then taken again.
      if (read.ok) must(decodeValue(encodeValue(read.value)).ok, 'what it holds is not taken')
      return read.ok
    },
  },
  {
    name: 'sequence',
    form: 'cbor',
    samples: [encodeMessages(MESSAGES)],
    run: (input) => decodeSequence(input).ok,
  },
  {
    name: 'address-record',
    form: 'cbor',
    samples: [ADDRESS_RECORD],
    run: (input) => {
      const read = decodeAddressRecord(MESH, input)
      if (read.ok) must(equal(read.value.bytes, input), 'it would be handed on otherwise')
      return read.ok
    },
  },
  {
    name: 'deterministic',
    form: 'cbor',
    samples: [CAPABILITY, ...BATCHES.map(({ bytes }) => bytes), encodeCheckpoint(CHECKPOINT)],
    run: (input) => {
      const read = decodeDeterministic(input)
      if (read.ok) must(equal(encodeDeterministic(read.value), input), 'it would be written otherwise')
      return read.ok
    },
  },
  {
    name: 'messages',
    form: 'cbor',
    samples: [encodeMessages(MESSAGES), ...MESSAGES.map((message) => encodeMessages([message]))],
    run: (input) => {
      const read = decodeMessages(input)
      // Of what it passed over nothing is said again.
      if (!read.ok || read.value.length === 0) return read.ok
      must(decodeMessages(encodeMessages(read.value)).ok, 'what it says is malformed')
      return true
    },
  },
  {
    name: 'batch',
    form: 'cbor',
    samples: BATCHES.map(({ bytes }) => bytes),
    run: (input) => {
      const read = decodeBatch(MESH, input)
      if (!read.ok) return false
      must(seqOfBatch(input) === read.value.header.seq, 'its sequence stands elsewhere')
      decodeBody(read.value.header, read.value.body)
      for (const feed of [FEED, ENCRYPTED_FEED]) readBody(feed, read.value.header, read.value.body, KEYRING)
      return true
    },
  },
  {
    name: 'body, encrypted bytes',
    form: 'bytes',
    samples: BODIES.map((body) => encryptBody({ ...headerOf(body, 4), encryption: BODY_KEY }, BODY_KEY, body)),
    run: (input) => readBody(ENCRYPTED_FEED, { ...headerOf(input, 4), encryption: BODY_KEY }, input, KEYRING).ok,
  },
  {
    name: 'body, encrypted',
    form: 'cbor',
    samples: BODIES,
    run: (input) => {
      const header = { ...headerOf(input, 4), encryption: BODY_KEY }
      const body = encryptBody(header, BODY_KEY, input)
      const signed = { ...header, bodyHash: sha256(body), bodyLength: body.length }
      const read = readBody(ENCRYPTED_FEED, signed, body, KEYRING)
      must(read.ok === isBody(input, 0), 'it is read otherwise than in the clear')
      return read.ok
    },
  },
  { name: 'body', form: 'cbor', samples: BODIES, run: (input) => isBody(input, 0) },
  {
    name: 'body, deflated',
    form: 'cbor',
    samples: BODIES,
    run: (input) => isBody(new Uint8Array(deflateRawSync(input, { level: 1 })), 1),
  },
  {
    name: 'body, compressed bytes',
    form: 'bytes',
    samples: BODIES.map((body) => new Uint8Array(deflateRawSync(body))),
    run: (input) => isBody(input, 1),
  },
  {
    name: 'checkpoint',
    form: 'cbor',
    samples: [encodeCheckpoint(CHECKPOINT)],
    run: (input) => {
      const read = decodeCheckpoint({ ...headerOf(input, 8), seq: 2 ** 52 }, input)
      if (read.ok) must(decodeCheckpoint(headerOf(input, 8), encodeCheckpoint(read.value)) !== null, 'it is lost')
      return read.ok
    },
  },
  {
    name: 'descriptor',
    form: 'cbor',
    samples: [encodeDescriptor(FEED.descriptor)],
    run: (input) => {
      const read = decodeDescriptor(input)
      if (!read.ok) return false
      feedOf(MESH, read.value)
      must(equal(encodeDescriptor(read.value), input), 'it would be written otherwise')
      return true
    },
  },
  {
    name: 'capability',
    form: 'cbor',
    samples: [CAPABILITY],
    run: (input) => verifyChain(MESH, KEYS.publicKey, [input], YES).ok,
  },
  {
    name: 'proof',
    form: 'cbor',
    samples: [proof()],
    run: (input) => decodeProof(MESH, input).ok,
  },
  {
    name: 'testimony',
    form: 'cbor',
    samples: [testimony()],
    run: (input) => decodeTestimony(MESH, input).ok,
  },
  {
    name: 'seal of a feed that ran ahead',
    form: 'cbor',
    samples: BATCHES.slice(0, 1).map((batch) => encodeAheadSeal(FEED, batch, 1)),
    run: (input) => decodeAheadSeal(MESH, input).ok,
  },
  {
    name: 'invite',
    form: 'text',
    samples: [utf8(token())],
    run: (input) => decodeInvite(textOf(input)).ok,
  },
  {
    name: 'invite, its content',
    form: 'cbor',
    samples: [Buffer.from(token().slice(7), 'base64url')],
    run: (input) => {
      const read = decodeInvite(`marram1${Buffer.from(input).toString('base64url')}`)
      if (read.ok) must(decodeInvite(encodeInvite(read.value)).ok, 'it is not taken again')
      return read.ok
    },
  },
  {
    name: 'packet length',
    form: 'bytes',
    samples: [Uint8Array.of(0x10, 3, 1, 2, 3, 0x30, 0x80, 1, ...new Uint8Array(128), 0xc0, 0)],
    run: (input) => {
      const guard = new PacketLengthGuard(100_000)
      const half = input.length >> 1
      const isTaken = guard.accept(input.subarray(0, half)) && guard.accept(input.subarray(half))
      must(isTaken === new PacketLengthGuard(100_000).accept(input), 'it depends on how it is cut')
      return isTaken
    },
  },
]

/** Of capabilities the signature is judged elsewhere: what comes behind it is to be reached. */
const YES: Verifier = { verify: () => true }

function isBody(body: Uint8Array, flags: number): boolean {
  const read = decodeBody(headerOf(body, flags), body)
  if (!read.ok) return false
  const { opDocs, opShapes, shapes, values } = read.value
  const count = opShapes.reduce((sum, shape) => sum + (shapes[shape]?.paths.length ?? Number.NaN), 0)
  must(count === values.length && opDocs.length === opShapes.length, 'its columns do not fit together')
  must(opDocs.length <= PROTOCOL_LIMITS.opsPerBatchMax, 'it has too many operations')
  return true
}

function headerOf(body: Uint8Array, flags: number): BatchHeader {
  const zeros = new Uint8Array(32)
  const [feedId, bodyHash] = [new Uint8Array(16), sha256(body)]
  return { feedId, seq: 9, prev: zeros, hlc: HLC, bodyHash, bodyLength: body.length, flags, minReader: 1 }
}

/** A body before it is compressed. */
function encodeValueOfBody(body: Uint8Array, ops: (typeof OPS)[number]): Uint8Array {
  if (ops.opDocs.length === 1) return body
  const { docs, shapes, values } = ops
  return encodeValue([docs, shapes.map(({ kind, paths }) => [kind, ...paths]), null, 0, values])
}

function proof(): Uint8Array {
  const [a, b] = BATCHES
  if (!a || !b) throw new Error('There are no samples')
  return encodeProof(FEED, a, b)
}

function testimony(): Uint8Array {
  const partition = peerIdOf(KEYS.publicKey)
  const feed = feedOf(MESH, { ...FEED.descriptor, collection: SELF_COLLECTION, partition })
  return encodeTestimony(feed, batchOf({ seq: 2, ops: OPS[0] as Ops, feed }))
}

function token(): string {
  return encodeInvite(INVITE)
}
