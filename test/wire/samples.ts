import { utf8 } from '../../runtime/base/bytes.ts'
import { Keyring } from '../../runtime/access/keyring.ts'
import { grantsOf } from '../../runtime/access/roles.ts'
import { epochOf } from '../../runtime/crypto/epoch-key.ts'
import { sha256 } from '../../runtime/crypto/hash.ts'
import { deviceKeysFrom, type DeviceKeys } from '../../runtime/crypto/identity.ts'
import { createSigner } from '../../runtime/crypto/signature.ts'
import {
  OP_ADD,
  OP_COUNTER,
  OP_DELETE,
  OP_LINK,
  OP_PUT,
  OP_REMOVE,
  type Batch,
  type Feed,
  type Ops,
} from '../../runtime/model/batch.ts'
import type { Checkpoint } from '../../runtime/model/checkpoint.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { encodeAddressRecord } from '../../runtime/wire/address-record.ts'
import { encodeBatch, type NewBatch } from '../../runtime/wire/batch.ts'
import { encodeCapability } from '../../runtime/wire/capability.ts'
import { encodeDescriptor, feedOf } from '../../runtime/wire/descriptor.ts'
import type { BodyKey } from '../../runtime/wire/encryption.ts'
import type { Invite } from '../../runtime/wire/invite.ts'
import type { Message } from '../../runtime/wire/message.ts'

/** What a mesh of one author looks like, made by the real encoders; the same bytes in every run. */
export const MESH: Uint8Array = new Uint8Array(16).fill(1)
/** A stamp of 2026. */
export const HLC = 400_000_000_000_000

export const KEYS: DeviceKeys = deviceKeysFrom(new Uint8Array(32).fill(2), new Uint8Array(32).fill(3))
const signer = createSigner(KEYS.secretKey)

export const FEED: Feed = feedOf(MESH, {
  publicKey: KEYS.publicKey,
  incarnation: new Uint8Array(8).fill(4),
  collection: 'climate',
  partition: 'north',
  kind: 0,
  encrypted: false,
})

/** The same, encrypted, and its keys. */
export const ENCRYPTED_FEED: Feed = feedOf(MESH, { ...FEED.descriptor, encrypted: true })
const EPOCH_KEY = new Uint8Array(32).fill(14)
const EPOCH = epochOf(1, EPOCH_KEY)
export const KEYRING: Keyring = new Keyring([{ collection: 'climate', epoch: EPOCH, key: EPOCH_KEY }])
export const BODY_KEY: BodyKey = {
  epoch: EPOCH,
  nonce: new Uint8Array(12).fill(15),
  key: KEYRING.of(ENCRYPTED_FEED, EPOCH) as Uint8Array,
}

export const CHECKPOINT: Checkpoint = {
  floor: 9,
  live: new SequenceSet([1, 3, 7, 7]),
  root: new Uint8Array(32).fill(5),
  before: { seq: 8, hash: new Uint8Array(32).fill(6), hlc: HLC - 9 },
  deps: [{ feedId: FEED.id, seq: 3, hash8: new Uint8Array(8).fill(7) }],
  dropsTombstones: true,
}

export const INVITE: Invite = {
  meshId: MESH,
  meshName: 'greenhouse',
  rootPublicKey: KEYS.publicKey,
  addresses: ['mqtt://10.0.0.2:1883'],
  inviteId: new Uint8Array(8).fill(2),
  secret: new Uint8Array(16).fill(3),
  expiry: 1_800_000_000_000,
}

const author = 'a'.repeat(23)

/** Every kind of operation, with what may stand beside them. */
export const OPS: readonly Ops[] = [
  one(OP_PUT, 21.5),
  one(OP_PUT, { nested: [1, 'two', null, { three: new Uint8Array([3]) }] }),
  one(OP_COUNTER, [1, 0.5, '00ff00ff00ff00ff']),
  one(OP_ADD, ['text', 1, -2.5, true]),
  one(OP_LINK, [['pumps', 'north', 'p/1', 'feeds']]),
  one(OP_REMOVE, [
    ['e"text"', HLC, 1, author],
    ['lpumps\u0000north\u0000p/1\u0000feeds', 0, 0, author],
  ]),
  { ...one(OP_PUT, 1), stamps: [{ hlc: HLC - 7, index: 3 }] },
  { ...one(OP_PUT, 1), seen: [{ op: 0, path: 0, stamp: { hlc: HLC - 7, index: 3, origin: author } }] },
  { docs: ['k'], shapes: [{ kind: OP_DELETE, paths: [] }], opDocs: [0], opShapes: [0], values: [] },
  one(77, 'of a later version'),
  readings(300),
]

export const BATCHES: readonly Batch[] = [
  ...OPS.map((ops, i) => batchOf({ seq: i + 1, ops })),
  batchOf({ seq: 2 ** 33, ops: { body: utf8('a body'), flags: 4 } }),
  batchOf({ seq: 9, ops: OPS[0] as Ops, feed: ENCRYPTED_FEED, key: BODY_KEY }),
]

export function batchOf(options: Pick<NewBatch, 'seq' | 'ops'> & Partial<Pick<NewBatch, 'feed' | 'key'>>): Batch {
  const made = encodeBatch({
    meshId: MESH,
    feed: FEED,
    prev: new Uint8Array(32).fill(8),
    hlc: HLC + options.seq,
    clockClass: 2,
    sign: (message) => signer.sign(message),
    ...options,
  })
  if (!made.ok) throw new Error(made.error.message)
  return made.value
}

export const CAPABILITY: Uint8Array = encodeCapability(
  {
    issuer: KEYS.publicKey,
    subject: KEYS.publicKey,
    linkKey: KEYS.linkPublicKey,
    notBefore: 5,
    expires: 2 ** 53 - 1,
    id: new Uint8Array(16).fill(9),
    grants: grantsOf('admin') ?? [],
    roles: ['admin'],
    name: 'greenhouse',
    invite: new Uint8Array(8).fill(10),
  },
  MESH,
  (message) => signer.sign(message),
)

export const ADDRESS_RECORD: Uint8Array = encodeAddressRecord(
  {
    publicKey: KEYS.publicKey,
    number: 7,
    addresses: ['mqtt://10.0.0.1:1883'],
    links: ['a'.repeat(23)],
    cell: 'north',
    isSuperPeer: true,
    isMetered: false,
  },
  MESH,
  (message) => signer.sign(message),
)

export const MESSAGES: readonly Message[] = [
  {
    type: 'hello',
    versions: [1, 1],
    features: ['heard'],
    instance: new Uint8Array(8).fill(11),
    lsn: 70_000,
    cursor: { instance: new Uint8Array(8).fill(12), lsn: 5 },
    interest: ['*'],
    clock: { class: 2, hlc: HLC },
    credit: 1_048_576,
    name: 'greenhouse',
    version: '0.1.0',
  },
  { type: 'feed', alias: 0, descriptor: encodeDescriptor(FEED.descriptor), chain: [CAPABILITY] },
  { type: 'have', entries: [[0, 7, new Uint8Array(8)]], marker: { lsn: 9, frames: 3 } },
  { type: 'have', entries: [[0, 7, new Uint8Array(8), 3]], marker: null },
  { type: 'want', entries: [[0, 1, 1]] },
  { type: 'want', entries: [[0, 1, 0, [1, 3, 7, 7]]] },
  { type: 'data', batches: BATCHES.slice(0, 3).map(({ bytes }) => bytes) },
  { type: 'ack', lsn: 9, credit: 5, entries: [[0, 7]] },
  { type: 'nack', alias: 0, seq: 3, code: 'future', retryAfterMs: 60_000 },
  { type: 'ping', nonce: 1, isReply: false, digest: new Uint8Array(8), sentBytes: 2 ** 40 },
  { type: 'dig', buckets: new Uint8Array(512) },
  { type: 'pex', records: [ADDRESS_RECORD] },
  { type: 'cells', entries: [['climate', 'north', new Uint8Array(8), new Uint8Array(8), new Uint8Array(8)]] },
  { type: 'bye', reason: 'used', retryAfterMs: 0 },
  {
    type: 'join',
    inviteId: new Uint8Array(8),
    secret: new Uint8Array(16),
    publicKey: KEYS.publicKey,
    linkKey: KEYS.linkPublicKey,
    name: 'n',
    signature: signer.sign(sha256(utf8('a handshake'))),
  },
  { type: 'grant', chain: [CAPABILITY], addresses: ['mqtt://10.0.0.2:1883'] },
]

function one(kind: number, value: Ops['values'][number]): Ops {
  return { docs: ['kitchen'], shapes: [{ kind, paths: ['field'] }], opDocs: [0], opShapes: [0], values: [value] }
}

/** So many that the body is compressed. */
function readings(count: number): Ops {
  const each = Array.from({ length: count }, (_, i) => i)
  return {
    docs: each.map((i) => `sensor-${i}`),
    shapes: [{ kind: OP_PUT, paths: ['temperature', 'room'] }],
    opDocs: each,
    opShapes: each.map(() => 0),
    values: each.flatMap((i) => [20 + i / 10, 'hall']),
  }
}
