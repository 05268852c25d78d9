import { hex } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { isLive, type Document, type Write } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import { checkDocumentKey, checkFieldPath, isSystemName } from '../model/names.ts'
import { formatStamp } from '../model/stamp.ts'
import { valueFault, type Fields, type Value } from '../model/value.ts'
import type {
  Documents,
  DocumentView,
  Provenance,
  PutOptions,
  Query,
  Receipt,
  WatchEvent,
  WatchOptions,
} from '../ports/operations.ts'
import type { Documents as StoredDocuments, Log, Space } from '../ports/store.ts'
import type { Writer, WriteOp } from '../ports/writer.ts'
import { encodeValue } from '../wire/cbor.ts'
import { checkCollection, countDocuments, readDocuments, spacesOf } from './reading.ts'
import { watchDocuments } from './watching.ts'

/** What the profile in force says of collections. */
export interface CollectionRules {
  /** The partition that this gateway writes to. */
  partitionOf(collection: string): string
  /** Why the collection can't be written here, or null. */
  refusal(collection: string): string | null
}

export interface DocumentSurroundings {
  readonly store: StoredDocuments & Log
  readonly writer: Writer
  readonly rules: () => CollectionRules
  /** The store's identity in hexadecimal. */
  readonly instance: string
  /** Whether a stored batch's hash, chain and signature verify. */
  readonly isValid: (feedKey: string, seq: number) => boolean
}

/** Documents as users see them: whole JSON objects whose fields are merged. */
export class DocumentService implements Documents {
  readonly #with: DocumentSurroundings

  constructor(surroundings: DocumentSurroundings) {
    this.#with = surroundings
  }

  async put(collection: string, key: string, fields: Fields, options: PutOptions = {}): Promise<Receipt> {
    this.#checkWrite(collection, key)
    checkFields(fields)
    const put: WriteOp = { kind: 'put', key, fields }
    const ops: WriteOp[] = options.replace ? [{ kind: 'delete', key }, put] : [put]
    return this.#write(collection, key, ops)
  }

  async delete(collection: string, key: string): Promise<Receipt> {
    this.#checkWrite(collection, key)
    if (!this.get(collection, key))
      throw new MarramError('not-found', `Cannot delete "${key}": there is no such document`)
    return this.#write(collection, key, [{ kind: 'delete', key }])
  }

  get(collection: string, key: string): DocumentView | undefined {
    const document = this.#find(collection, key)
    return document && { key, value: fieldsOf(document) }
  }

  provenance(collection: string, key: string): { readonly [path: string]: Provenance } | undefined {
    const document = this.#find(collection, key)
    if (!document) return undefined
    const provenance: { [path: string]: Provenance } = {}
    document.paths.forEach((path, i) => {
      if (document.values[i] !== null) provenance[path] = this.#provenanceOf(document.writes[i] as Write)
    })
    return provenance
  }

  list(collection: string, query: Query = {}): Iterable<DocumentView> {
    return readDocuments(this.#with.store, collection, query)
  }

  count(collection: string, query: Query = {}): number {
    return countDocuments(this.#with.store, collection, query)
  }

  watch(collection: string, options: WatchOptions = {}): AsyncIterable<WatchEvent> {
    const { store, instance } = this.#with
    return watchDocuments({ store, instance, lastLsn: () => store.lastLsn() }, collection, options)
  }

  digest(collection?: string): { readonly collections: { readonly [name: string]: string } } {
    if (collection !== undefined) checkCollection(collection)
    const collections: { [name: string]: string } = {}
    for (const [name, { count, digest }] of summaries(this.#with.store)) {
      if (count > 0 && (collection === undefined || name === collection)) collections[name] = digest
    }
    return { collections }
  }

  #checkWrite(collection: string, key: string): void {
    checkCollection(collection)
    if (isSystemName(collection)) {
      throw new MarramError(
        'not-permitted',
        `Cannot write "${collection}": it is the system's, use the commands for members`,
      )
    }
    const refusal = this.#with.rules().refusal(collection)
    if (refusal) throw new MarramError('not-supported', `Cannot write "${collection}": ${refusal}`)
    const checked = checkDocumentKey(key)
    if (!checked.ok) throw new MarramError(checked.error.code, checked.error.message)
  }

  async #write(collection: string, key: string, ops: readonly WriteOp[]): Promise<Receipt> {
    const stamp = await this.#with.writer.write(collection, this.#with.rules().partitionOf(collection), ops)
    return { key, stamp: formatStamp(stamp) }
  }

  /** The live document of this gateway's own partition, else of any other. */
  #find(collection: string, key: string): Document | undefined {
    checkCollection(collection)
    const own: Space = { collection, partition: this.#with.rules().partitionOf(collection) }
    for (const space of [own, ...spacesOf(this.#with.store, collection)]) {
      const document = this.#with.store.get(space, key)
      if (document && isLive(document)) return document
    }
    return undefined
  }

  #provenanceOf(write: Write): Provenance {
    return {
      author: write.origin,
      stamp: formatStamp(write),
      feed: hex(write.feed.id),
      sequence: write.seq,
      valid: this.#with.isValid(write.feed.key, write.seq),
    }
  }
}

/** Count and digest of every collection, partitions added up; the system's collections are left out. */
export function summaries(store: StoredDocuments): Map<string, { count: number; digest: string }> {
  const sums = new Map<string, { count: number; digest: Uint8Array }>()
  for (const space of store.spaces()) {
    if (isSystemName(space.collection)) continue
    const { count, digest } = store.summary(space)
    const sum = sums.get(space.collection)
    sums.set(
      space.collection,
      sum ? { count: sum.count + count, digest: added(sum.digest, digest) } : { count, digest },
    )
  }
  const sorted = [...sums].sort(([a], [b]) => (a < b ? -1 : 1))
  return new Map(sorted.map(([name, { count, digest }]) => [name, { count, digest: hex(digest) }]))
}

/** Byte by byte, so that partitions may be added in any order. */
function added(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, i) => byte + (b[i] as number))
}

function checkFields(fields: Fields): void {
  const paths = Object.keys(fields)
  if (paths.length === 0)
    throw new MarramError('bad-request', 'Cannot put an empty object: it must have at least one field')
  if (paths.length > PROTOCOL_LIMITS.fieldsPerDocumentMax) {
    throw new MarramError(
      'too-large',
      `Cannot put ${paths.length} fields: a document has at most ${PROTOCOL_LIMITS.fieldsPerDocumentMax}`,
    )
  }
  for (const path of paths) {
    const checked = checkFieldPath(path)
    if (!checked.ok) throw new MarramError(checked.error.code, checked.error.message)
    checkValue(path, fields[path] as Value)
  }
}

function checkValue(path: string, value: Value): void {
  if (value instanceof Uint8Array)
    throw new MarramError('bad-request', `Cannot store the field "${path}": it must be JSON`)
  const fault = valueFault(value)
  if (fault) throw new MarramError('bad-request', `Cannot store the field "${path}": ${fault}`)
  const bytes = encodedBytes(value)
  if (bytes <= PROTOCOL_LIMITS.valueBytesMax) return
  throw new MarramError(
    'too-large',
    `Cannot store the field "${path}": it has ${bytes} bytes, a value has at most ${PROTOCOL_LIMITS.valueBytesMax}`,
  )
}

/** The encoded size; for short strings, numbers and the like no more than that they are within the limit. */
function encodedBytes(value: Value): number {
  if (typeof value === 'string' && value.length * 3 <= PROTOCOL_LIMITS.valueBytesMax) return value.length
  return typeof value === 'string' || (typeof value === 'object' && value !== null) ? encodeValue(value).length : 9
}
