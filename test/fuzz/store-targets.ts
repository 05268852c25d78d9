import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { equal, utf8 } from '../../runtime/base/bytes.ts'
import { readMark } from '../../runtime/identity/mark.ts'
import { hasIdentity, loadIdentity, saveIdentity } from '../../runtime/identity/identity.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { emptyDocument, mergeOps } from '../../runtime/model/document.ts'
import { NOTHING_BENEATH } from '../../runtime/store/base.ts'
import { ByteReader } from '../../runtime/store/byte-reader.ts'
import { ByteWriter } from '../../runtime/store/byte-writer.ts'
import { readEntries, RecordWriter } from '../../runtime/store/entries.ts'
import {
  decodeDocument,
  decodeHead,
  decodeMark,
  decodeRingShape,
  decodeSpace,
  encodeDocument,
  encodeHead,
  encodeMark,
  encodeRingShape,
  encodeSpace,
} from '../../runtime/store/layout.ts'
import { replay } from '../../runtime/store/replay.ts'
import { BLOCK_BYTES, HEADER_BYTES, sealRecord } from '../../runtime/store/ring-record.ts'
import { recoverRing } from '../../runtime/store/ring-recovery.ts'
import { segmentPath } from '../../runtime/store/ring.ts'
import { State } from '../../runtime/store/state.ts'
import { decodeCursor, encodeCursor } from '../../runtime/sync/cursors.ts'
import { FeedHistory } from '../../runtime/sync/history.ts'
import { encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import { Author } from '../contract/author.ts'
import { CAPABILITY, CHECKPOINT, FEED, HLC, KEYS, MESH, OPS } from '../wire/samples.ts'
import { unlessRefused, type Target } from './target.ts'

const SHAPE = { segments: 2, segmentBytes: 2 * BLOCK_BYTES, salt: 0x5eed }
const START = { number: 1, segment: 0, offset: 0, previous: 0 }
const RING_PAYLOADS = [payload(false), payload(true)]

/** Everything that is read from this gateway's own disk. */
export function storeTargets(dir: string): readonly Target[] {
  return [
    {
      name: 'stored document',
      form: 'bytes',
      samples: OPS.map((_, i) => documentOf(i)),
      run: (input) => decodeDocument(input, (number) => (number === 5 ? FEED : undefined)).ok,
    },
    { name: 'stored head', form: 'bytes', samples: [head()], run: (input) => decodeHead(input, FEED).ok },
    {
      name: 'stored space',
      form: 'bytes',
      samples: [space(false), space(true)],
      run: (input) => decodeSpace(input).ok,
    },
    {
      name: 'stored mark',
      form: 'bytes',
      samples: [encodeMark({ position: { ...START, number: 70_000 }, lsn: 300 })],
      run: (input) => decodeMark(input).ok,
    },
    {
      name: 'stored ring shape',
      form: 'bytes',
      samples: [encodeRingShape(SHAPE)],
      run: (input) => decodeRingShape(input).ok,
    },
    { name: 'stored value', form: 'bytes', samples: OPS.map((_, i) => documentOf(i).subarray(45)), run: isValue },
    { name: 'ring entries', form: 'bytes', samples: RING_PAYLOADS, run: isEntries },
    { name: 'replay', form: 'bytes', samples: RING_PAYLOADS, run: (input) => isReplayed(input, false) },
    { name: 'salvage', form: 'bytes', samples: RING_PAYLOADS, run: (input) => isReplayed(input, true) },
    { name: 'ring recovery', form: 'bytes', samples: [segment()], run: (input) => isRecovered(dir, input) },
    { name: 'cursor', form: 'bytes', samples: [cursor()], run: (input) => decodeCursor(input) !== null },
    { name: 'history', form: 'bytes', samples: [history()], run: isHistory },
    { name: 'mark file', form: 'text', samples: [utf8(MARK)], run: (input) => isMark(dir, input) },
    { name: 'mesh file', form: 'text', samples: [meshFile()], run: (input) => isIdentity(dir, 'mesh.json', input) },
    {
      name: 'device file',
      form: 'text',
      samples: [deviceFile()],
      run: (input) => isIdentity(dir, 'device.json', input),
    },
  ]
}

const MARK = `{"incarnation":"00112233445566ff","lsn":70000,"hlc":${HLC}}\n`

function isValue(input: Uint8Array): boolean {
  return unlessOutOfRange(() => {
    new ByteReader(input).value()
    return true
  })
}

/** Its readers turn a RangeError into damage. */
function isEntries(input: Uint8Array): boolean {
  return unlessOutOfRange(() => [...readEntries(input)].length > 0)
}

function unlessOutOfRange(act: () => boolean): boolean {
  try {
    return act()
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

function isReplayed(input: Uint8Array, isSalvage: boolean): boolean {
  const state = new State(NOTHING_BENEATH)
  return unlessRefused(['storage-damaged'], () => {
    replay(state, MESH, input, isSalvage)
    for (const { head } of state.feeds.all()) if (head !== null) state.feeds.batches(head.feed.key, 1, 1_000_000)
    return true
  })
}

function isRecovered(dir: string, input: Uint8Array): boolean {
  const bytes = Buffer.alloc(SHAPE.segments * SHAPE.segmentBytes)
  bytes.set(input.subarray(0, bytes.length))
  for (let i = 0; i < SHAPE.segments; i++) {
    writeFileSync(segmentPath(dir, i), bytes.subarray(i * SHAPE.segmentBytes, (i + 1) * SHAPE.segmentBytes))
  }
  return recoverRing(dir, SHAPE, START, false).payloads.length > 0
}

function isHistory(input: Uint8Array): boolean {
  const read = new FeedHistory()
  read.decode(input, (seq) => (seq > 0 ? { seq, hlc: HLC, checkpoint: CHECKPOINT } : null))
  return equal(read.encode(), input)
}

function isMark(dir: string, input: Uint8Array): boolean {
  const folder = mkdtempSync(join(dir, 'mark-'))
  try {
    saveIdentityIn(folder)
    writeFileSync(join(folder, 'identity', 'mark'), input)
    return unlessRefused(['storage-damaged'], () => readMark(folder) !== null)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function isIdentity(dir: string, name: string, input: Uint8Array): boolean {
  const folder = mkdtempSync(join(dir, 'identity-'))
  try {
    saveIdentityIn(folder)
    writeFileSync(join(folder, 'identity', name), input)
    if (!hasIdentity(folder)) return false
    return unlessRefused(['storage-damaged'], () => loadIdentity(folder).keys.publicKey.length === 32)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const IDENTITY_FILES = identityFiles()

function saveIdentityIn(folder: string): void {
  mkdirSync(join(folder, 'identity'))
  for (const [name, content] of IDENTITY_FILES) writeFileSync(join(folder, 'identity', name), content)
}

/** As `marram init` writes them. */
function identityFiles(): ReadonlyMap<string, Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), 'marram-identity-'))
  const mesh = {
    meshId: MESH,
    name: 'greenhouse',
    rootPublicKey: KEYS.publicKey,
    chain: [CAPABILITY],
    invite: null,
    refusal: null,
    addresses: ['mqtt://10.0.0.2:1883'],
    succeeds: 'a'.repeat(23),
  }
  saveIdentity(folder, { keys: KEYS, mesh }, null)
  const files = ['mesh.json', 'device.json'].map(
    (name) => [name, readFileSync(join(folder, 'identity', name))] as const,
  )
  rmSync(folder, { recursive: true })
  return new Map(files)
}

function meshFile(): Uint8Array {
  return IDENTITY_FILES.get('mesh.json') as Uint8Array
}

function deviceFile(): Uint8Array {
  return IDENTITY_FILES.get('device.json') as Uint8Array
}

function documentOf(i: number): Uint8Array {
  const document = emptyDocument()
  const ops = OPS[i] as (typeof OPS)[number]
  const source = { feed: FEED, seq: 300, hlc: HLC, lsn: 7 }
  mergeOps(
    ops,
    source,
    () => document,
    () => {},
  )
  const writer = new ByteWriter(Buffer.alloc(64))
  encodeDocument(writer, { document, contribution: 1n }, () => 5)
  return writer.view()
}

function head(): Uint8Array {
  const retained = new SequenceSet([1, 3, 7, 7])
  return encodeHead({ feed: FEED, seq: 7, hash: new Uint8Array(32), hlc: HLC, lsn: 300, bytes: 123_456, retained })
}

function space(isSeries: boolean): Uint8Array {
  return encodeSpace({ collection: 'climate', partition: '', count: 2, digest: 255n, ...(isSeries && { isSeries }) })
}

function cursor(): Uint8Array {
  return encodeCursor({ instance: new Uint8Array(8).fill(1), lsn: 70_000 })
}

function history(): Uint8Array {
  const made = new FeedHistory()
  for (const seq of [3, 7]) made.jump({ seq, hlc: HLC, checkpoint: CHECKPOINT }, 2)
  return made.encode()
}

/** One feed with batches along the chain and beside it, a drop and records. */
function payload(isJumping: boolean): Uint8Array {
  const author = new Author('fuzz')
  const batches = author.batchesOf(4)
  const writer = new RecordWriter(8_192)
  writer.feed(1, encodeDescriptor(author.feed.descriptor))
  for (const { batch } of batches.slice(0, 3)) writer.batch(1, 1, batch.bytes, undefined)
  const last = batches[3] as (typeof batches)[number]
  const { seq, hlc } = last.batch.header
  writer.batch(1, 1, last.batch.bytes, isJumping ? { seq, hash: last.batch.hash, hlc } : 'aside')
  writer.drop(1, new SequenceSet([2, 2]), null)
  writer.record('sync/cursor/a', cursor())
  writer.record('sync/cursor/b', null)
  return writer.finish().slice(HEADER_BYTES)
}

/** Two records, one after the other, in the first of two segments. */
function segment(): Uint8Array {
  const bytes = Buffer.alloc(SHAPE.segments * SHAPE.segmentBytes)
  let at = START
  for (const text of ['one', 'two']) {
    const record = Buffer.concat([Buffer.alloc(HEADER_BYTES), Buffer.from(text)])
    const check = sealRecord(record, at, SHAPE.salt)
    record.copy(bytes, at.offset)
    at = { ...at, number: at.number + 1, offset: at.offset + BLOCK_BYTES, previous: check }
  }
  return bytes
}
