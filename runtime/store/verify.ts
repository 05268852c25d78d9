import { crc32 } from 'node:zlib'
import { equal, fromHex, hex, latin1 } from '../base/bytes.ts'
import { sha256 } from '../crypto/hash.ts'
import type { Batch, Feed, FeedHead, Ops } from '../model/batch.ts'
import { emptyDocument, mergeDocument, mergeOps, type Document, type Write } from '../model/document.ts'
import { shownOps } from '../model/rows.ts'
import { spaceOf } from '../model/spaces.ts'
import { compareStamps } from '../model/stamp.ts'
import type { Place } from '../model/interest.ts'
import type { DocumentPlace, Space } from '../ports/store.ts'
import { decodeBatch } from '../wire/batch.ts'
import { readBody } from '../wire/encryption.ts'
import { contributionOf, exchange } from './digest.ts'
import { isBlank } from './documents.ts'
import { partOf } from './fold.ts'
import { BATCH_SHOWN, spaceName, type StoredBatch } from './feeds.ts'
import type { StoredDocument } from './layout.ts'
import type { Summary } from './space.ts'
import type { TableStore } from './table-store.ts'

export interface VerifyOptions {
  readonly meshId: Uint8Array
  /** The signature predicate. */
  readonly verify: (feed: Feed, batch: Batch) => boolean
  /** Puts what the batches say in the place of what is stored, where they differ. */
  readonly isRepair?: boolean
  /** The documents of this place alone, encrypted ones too, and their feeds. */
  readonly only?: Place
}

export interface BadBatch {
  /** Feed id in hexadecimal. */
  readonly feed: string
  /** Peer id. */
  readonly author: string
  readonly collection: string
  readonly sequence: number
  readonly why: string
}

export interface Verification {
  readonly batches: number
  readonly bad: readonly BadBatch[]
  /** Cells that were compared, and documents (or summaries of a collection) that differed. */
  readonly cells: number
  readonly differences: number
}

const READ_BYTES = 262_144
const BROKEN_CHAIN = 'it does not continue the batch before'
const PAGE = 256
/** Greater collections are folded in several passes over their batches, so that memory stays bounded. */
const DOCUMENTS_PER_PASS = 50_000

/**
 * Checks every stored batch (hash chain, signature, body) and that the stored documents are the fold of those that pass.
 * Appends may go on: what changes meanwhile is left for the next time. Reads in slices and lets the event loop run.
 */
export async function verifyStore(store: TableStore, options: VerifyOptions): Promise<Verification> {
  const run = new VerificationRun(store, options)
  await run.checkBatches()
  await run.checkDocuments()
  return run.result()
}

/** What `examinePlace` found: documents that differed and are put right, and batches whose bytes are not their authors'. */
export interface Examination extends Pick<DocumentPlace, 'collection' | 'partition'> {
  readonly documents: number
  readonly damaged: readonly { readonly feedKey: string; readonly seq: number }[]
}

/**
 * Derives the documents of a place anew from the batches of which hash and chain are sound, and puts right what differs. Appends go
 * on meanwhile. Signatures are left to who hears of damaged batches.
 */
export async function examinePlace(store: TableStore, meshId: Uint8Array, place: Space): Promise<Examination> {
  const { collection, partition } = place
  const run = new VerificationRun(store, {
    meshId,
    verify: () => true,
    isRepair: true,
    only: { collection, partition },
  })
  await run.checkBatches()
  await run.checkDocuments()
  const { differences, bad } = run.result()
  const damaged = bad.flatMap(({ feed, sequence, why }) => {
    const feedKey = latin1(fromHex(feed) as Uint8Array)
    // Of two that don't fit only their signatures say which one is wrong.
    return why === BROKEN_CHAIN
      ? [sequence - 1, sequence].map((seq) => ({ feedKey, seq }))
      : [{ feedKey, seq: sequence }]
  })
  return { collection, partition, documents: differences, damaged }
}

function spacesOf(place: Place | undefined): Space[] {
  return place === undefined ? [] : [place, { ...place, isEncrypted: true }]
}

class VerificationRun {
  readonly #store: TableStore
  readonly #options: VerifyOptions
  readonly #heads: readonly FeedHead[]
  readonly #lsn: number
  readonly #bad: BadBatch[] = []
  readonly #badNames = new Set<string>()
  #batches = 0
  #cells = 0
  #differences = 0

  constructor(store: TableStore, options: VerifyOptions) {
    this.#store = store
    this.#options = options
    const { only } = options
    this.#heads = [...store.heads()]
      .filter(
        ({ feed }) =>
          spacesOf(only).some((space) => spaceName(spaceOf(feed)) === spaceName(space)) || only === undefined,
      )
      .map((head) => ({ ...head, retained: head.retained.clone() }))
    this.#lsn = store.lastLsn()
  }

  result(): Verification {
    return { batches: this.#batches, bad: this.#bad, cells: this.#cells, differences: this.#differences }
  }

  async checkBatches(): Promise<void> {
    for (const head of this.#heads) {
      let last: { seq: number; hash: Uint8Array } = { seq: 0, hash: new Uint8Array(32) }
      for await (const { seq, stored } of this.#read(head)) {
        this.#batches += 1
        const batch = stored && decodeBatch(this.#options.meshId, stored.subarray(1))
        // Before the first batch that is kept after others were declared dead, the chain is broken by right; a damaged one says nothing
        // against the next.
        const prev = seq === last.seq + 1 ? last.hash : null
        const why = !batch
          ? 'it is missing'
          : batch.ok
            ? this.#faultOf(head.feed, batch.value, seq, prev)
            : batch.error.message
        if (why !== null) this.#addBad(head.feed, seq, why)
        if (batch?.ok === true && why === null) last = { seq, hash: batch.value.hash }
        if (seq === head.seq && why === null && !equal(last.hash, head.hash))
          this.#addBad(head.feed, seq, 'it is not the batch that the head names')
      }
    }
  }

  async checkDocuments(): Promise<void> {
    for (const space of this.#spaces()) {
      const passes = Math.max(1, Math.ceil(this.#store.summary(space).count / DOCUMENTS_PER_PASS))
      for (let pass = 0; pass < passes; pass++) {
        const isInPass = (key: string): boolean => crc32(key) % passes === pass
        await this.#compare(space, await this.#fold(space, isInPass), isInPass)
      }
      await this.#checkSummary(space)
    }
  }

  /** The batches of a feed that were retained when the run began, up to what was its head; null for one that isn't there. */
  async *#read({
    feed,
    retained,
  }: FeedHead): AsyncIterable<{ readonly seq: number; readonly stored: StoredBatch | null }> {
    for (let seq = retained.next(1); seq !== null;) {
      const found = this.#store.storedBatches(feed.key, seq, READ_BYTES)
      for (const { seq: at, bytes: stored } of found) {
        for (; seq !== null && seq < at; seq = retained.next(seq + 1)) yield { seq, stored: null }
        if (seq === at) yield { seq, stored }
        seq = retained.next(at + 1)
        if (seq === null) return
      }
      if (found.length === 0) {
        for (; seq !== null; seq = retained.next(seq + 1)) yield { seq, stored: null }
        return
      }
      await turn()
    }
  }

  #faultOf(feed: Feed, batch: Batch, seq: number, prev: Uint8Array | null): string | null {
    const { header, body } = batch
    if (!equal(header.feedId, feed.id)) return 'it belongs to another feed'
    if (header.seq !== seq) return `its sequence number is ${header.seq}`
    if (prev !== null && !equal(header.prev, prev)) return BROKEN_CHAIN
    if (!this.#options.verify(feed, batch)) return 'its signature does not verify'
    // Whether it decodes is no matter: a body that means nothing counts as no operations, everywhere.
    return equal(sha256(body), header.bodyHash) ? null : 'its body is not the one that was signed'
  }

  #addBad(feed: Feed, sequence: number, why: string): void {
    const { origin: author, descriptor } = feed
    this.#bad.push({ feed: hex(feed.id), author, collection: descriptor.collection, sequence, why })
    this.#badNames.add(`${feed.key} ${sequence}`)
  }

  /** Those of documents, and those that feeds would have made. */
  #spaces(): Space[] {
    const { only } = this.#options
    if (only !== undefined) return spacesOf(only)
    const spaces = new Map<string, Space>()
    for (const space of this.#store.spaces()) spaces.set(spaceName(space), space)
    for (const { feed } of this.#heads) {
      spaces.set(spaceName(spaceOf(feed)), spaceOf(feed))
    }
    return [...spaces.values()]
  }

  async #fold(space: Space, isInPass: (key: string) => boolean): Promise<Map<string, Document>> {
    const documents = new Map<string, Document>()
    const find = (key: string): Document => {
      if (!isInPass(key)) return emptyDocument()
      const known = documents.get(key) ?? emptyDocument()
      documents.set(key, known)
      return known
    }
    for (const head of this.#heads) {
      if (spaceName(spaceOf(head.feed)) !== spaceName(space)) continue
      for await (const { seq, stored } of this.#read(head)) {
        const found =
          stored === null || this.#badNames.has(`${head.feed.key} ${seq}`) ? null : this.#opsOf(head.feed, stored)
        if (found !== null) mergeOps(found.ops, { feed: head.feed, seq, hlc: found.hlc, lsn: 0 }, find, () => {})
      }
    }
    return documents
  }

  #opsOf(feed: Feed, stored: StoredBatch): { ops: Ops; hlc: number } | null {
    const batch = stored[0] === BATCH_SHOWN ? decodeBatch(this.#options.meshId, stored.subarray(1)) : null
    if (batch?.ok !== true) return null
    const ops = readBody(feed, batch.value.header, batch.value.body, this.#store.keys)
    const { hlc } = batch.value.header
    return ops.ok ? { ops: shownOps(ops.value, feed, hlc), hlc } : null
  }

  async #compare(space: Space, folded: Map<string, Document>, isInPass: (key: string) => boolean): Promise<void> {
    const damaged = this.#store.documents.space(space)?.damaged
    for await (const { key, stored } of this.#scan(space)) {
      if (!isInPass(key)) continue
      const expected = folded.get(key) ?? emptyDocument()
      folded.delete(key)
      // What rests on damaged batches was right when they were merged, and nothing else is known of it.
      if (stored !== null)
        mergeDocument(
          expected,
          partOf(stored.document, (write) => this.#isDamaged(write)),
        )
      this.#cells += stored?.document.values.length ?? 0
      const isNewer = stored !== null && stored.document.lsn > this.#lsn
      if (!isNewer && (damaged?.has(key) === true || !isSame(space, key, stored, expected)))
        this.#differ(space, key, expected)
    }
    for (const [key, expected] of folded) {
      const isThere = isBlank(expected) || (this.#store.get(space, key)?.lsn ?? 0) > this.#lsn
      if (!isThere) this.#differ(space, key, expected)
    }
  }

  #differ(space: Space, key: string, expected: Document): void {
    this.#differences += 1
    if (this.#options.isRepair !== true) return
    this.#store.documents.replace(space, key, { ...expected, lsn: isBlank(expected) ? 0 : this.#store.lastLsn() })
  }

  #isDamaged({ feed, seq }: Write): boolean {
    if (this.#badNames.has(`${feed.key} ${seq}`)) return true
    return this.#store.head(feed.key)?.damaged?.has(seq) === true
  }

  async *#scan(space: Space): AsyncIterable<{ readonly key: string; readonly stored: StoredDocument | null }> {
    for (let start: string | undefined; ;) {
      const range = { limit: PAGE, ...(start === undefined ? {} : { start, isAfter: true }) }
      const page = this.#store.documents.scanStored(space, range)
      yield* page
      if (page.length < PAGE) return
      start = page.at(-1)?.key
      await turn()
    }
  }

  /** Only when nothing was written meanwhile: then the summary must be that of the documents. */
  async #checkSummary(space: Space): Promise<void> {
    const before = this.#store.lastLsn()
    const truth: Summary = { count: 0, digest: 0n }
    for await (const { key, stored } of this.#scan(space)) {
      const contribution = stored === null ? 0n : contributionOf(space, key, stored.document)
      truth.count += contribution === 0n ? 0 : 1
      truth.digest = exchange(truth.digest, 0n, contribution)
    }
    const table = this.#store.documents.space(space)
    if (table === undefined || this.#store.lastLsn() !== before) return
    if (table.digest === truth.digest && table.count === truth.count) return
    this.#differences += 1
    if (this.#options.isRepair !== true) return
    // A sweep writes a summary beside the documents it is of.
    const [first] = this.#store.scan(space, { limit: 1 })
    if (first !== undefined) this.#store.documents.replace(space, first.key, { ...first.document })
    table.restate(truth)
  }
}

/** Same cells, same delete, and the digest includes just that. */
function isSame(space: Space, key: string, stored: StoredDocument | null, expected: Document): boolean {
  if (stored === null) return false
  const { document } = stored
  const contribution = contributionOf(space, key, expected)
  if (stored.contribution !== contribution || contributionOf(space, key, document) !== contribution) return false
  if (document.values.length !== expected.values.length) return false
  if (!isSameWrite(document.deleted, expected.deleted)) return false
  return expected.paths.every((path, i) => {
    const at = document.paths.indexOf(path)
    return at >= 0 && isSameWrite(document.writes[at] ?? null, expected.writes[i] ?? null)
  })
}

function isSameWrite(a: Document['deleted'], b: Document['deleted']): boolean {
  if (a === null || b === null) return a === b
  return compareStamps(a, b) === 0 && a.seq === b.seq && a.feed.key === b.feed.key
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
