import { createSigner } from '../../runtime/crypto/signature.ts'
import { sha256 } from '../../runtime/crypto/hash.ts'
import { utf8 } from '../../runtime/base/bytes.ts'
import {
  FEED_KIND_STATE,
  OP_DELETE,
  OP_PUT,
  type Batch,
  type Feed,
  type FeedHead,
  type Ops,
  type Shape,
} from '../../runtime/model/batch.ts'
import type { Value } from '../../runtime/model/value.ts'
import type { Append, AppendBatch, KeyValue } from '../../runtime/ports/store.ts'
import { encodeBatch } from '../../runtime/wire/batch.ts'
import { feedOf } from '../../runtime/wire/descriptor.ts'
import type { BodyKey } from '../../runtime/wire/encryption.ts'

export const MESH_ID: Uint8Array = sha256(utf8('a mesh for tests')).slice(0, 16)

/** `null` deletes the document; a null field removes the field. */
export type Write = readonly [key: string, fields: { readonly [path: string]: Value } | null]

/** Writes signed batches of one feed, one after the other, with stamps that the test chooses or that rise by one. */
export class Author {
  readonly feed: Feed
  /** Of an encrypted feed: what the next batch is encrypted with. */
  key: BodyKey | null = null
  readonly #sign: (message: Uint8Array) => Uint8Array
  #seq = 0
  #prev: Uint8Array = new Uint8Array(32)
  #hlc = 1_000_000

  /** The same name gives the same keys. */
  constructor(name: string, collection = 'climate', partition = '', kind: number = FEED_KIND_STATE, encrypted = false) {
    const signer = createSigner(sha256(utf8(name)))
    const incarnation = sha256(utf8(`${name}/incarnation`)).slice(0, 8)
    const { publicKey } = signer
    const descriptor = { publicKey, incarnation, collection, partition, kind, encrypted }
    this.feed = feedOf(MESH_ID, descriptor)
    this.#sign = (message) => signer.sign(message)
  }

  get space(): { collection: string; partition: string } {
    return this.feed.descriptor
  }

  batch(writes: readonly Write[], hlc?: number): AppendBatch {
    return this.batchOf(opsOf(writes), hlc)
  }

  batchOf(ops: Ops, hlc: number = this.#hlc + 1): AppendBatch {
    const made = encodeBatch({
      meshId: MESH_ID,
      feed: this.feed,
      seq: this.#seq + 1,
      prev: this.#prev,
      hlc,
      ops,
      clockClass: 2,
      ...(this.key && { key: this.key }),
      sign: this.#sign,
    })
    if (!made.ok) throw new Error(made.error.message)
    this.#seq += 1
    this.#prev = made.value.hash
    this.#hlc = hlc
    return { feed: this.feed, batch: made.value, ops }
  }

  /** Goes on where a store stands. */
  resume(head: FeedHead | undefined): void {
    if (head === undefined) return
    this.#seq = head.seq
    this.#prev = head.hash
    this.#hlc = head.hlc
  }

  /** The first `count` batches of the feed, each with one write. */
  batchesOf(count: number): AppendBatch[] {
    return Array.from({ length: count }, (_, i) => this.put('k', i))
  }

  /** One document, one field. */
  put(key: string, value: Value): AppendBatch {
    return this.batch([[key, { value }]])
  }
}

export function opsOf(writes: readonly Write[]): Ops {
  const docs: string[] = []
  const shapes: Shape[] = []
  const values: Value[] = []
  for (const [key, fields] of writes) {
    docs.push(key)
    shapes.push({ kind: fields === null ? OP_DELETE : OP_PUT, paths: Object.keys(fields ?? {}) })
    values.push(...Object.values(fields ?? {}))
  }
  return { docs, shapes, opDocs: docs.map((_, i) => i), opShapes: shapes.map((_, i) => i), values }
}

export function append(...batches: readonly AppendBatch[]): Append {
  return { batches, records: [] }
}

export function record(key: string, value: Uint8Array | null): Append {
  const records: KeyValue[] = [{ key, value }]
  return { batches: [], records }
}

export function bytesOfBatches(batches: readonly AppendBatch[]): Uint8Array[] {
  return batches.map(({ batch }: { batch: Batch }) => batch.bytes)
}
