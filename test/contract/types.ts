import assert from 'node:assert/strict'
import { randomInteger, seededRandom, type Random } from '../../runtime/base/random.ts'
import { OP_ADD, OP_COUNTER, OP_DELETE, OP_LINK, OP_PUT, OP_REMOVE, type Ops } from '../../runtime/model/batch.ts'
import { kindOfCell, subOfCell, type Reference } from '../../runtime/model/cells.ts'
import { emptyDocument, mergeOps, type Document } from '../../runtime/model/document.ts'
import type { Value } from '../../runtime/model/value.ts'
import type { DocumentPlace, Store } from '../../runtime/ports/store.ts'
import { append, Author } from './author.ts'

const KEYS = ['k', 'l', 'm', 'n', 'o']

/** A store and a naive model of it under random counters, sets, links and deletes: documents and who links where must agree. */
export class TypesModel {
  readonly #random: Random
  readonly #authors: readonly Author[]
  readonly #documents = new Map(KEYS.map((key) => [key, emptyDocument()]))
  #hlc = 1_000_000

  constructor(seed: number) {
    this.#random = seededRandom(seed)
    this.#authors = ['a', 'b'].map((name) => new Author(`${name}${seed}`))
  }

  async step(store: Store): Promise<void> {
    const author = this.#pick(this.#authors)
    const key = this.#pick(KEYS)
    const [kind, value] = this.#draw(this.#documents.get(key) as Document)
    const paths = kind === OP_DELETE ? [] : ['field']
    const values = kind === OP_DELETE ? [] : [value]
    const ops: Ops = { docs: [key], shapes: [{ kind, paths }], opDocs: [0], opShapes: [0], values }
    const appended = author.batchOf(ops, ++this.#hlc)
    const { seq, hlc } = appended.batch.header
    mergeOps(
      ops,
      { feed: author.feed, seq, hlc, lsn: 0 },
      (name) => this.#documents.get(name) as Document,
      () => {},
    )
    await store.append(append(appended))
  }

  check(store: Store): void {
    const space = { collection: 'climate', partition: '' }
    for (const [key, expected] of this.#documents) {
      assert.deepEqual(cellsOf(store.get(space, key) ?? emptyDocument()), cellsOf(expected), key)
    }
    for (const key of KEYS) {
      const target: DocumentPlace = { collection: 'climate', partition: '', key }
      const found = store.referrers(target, 100).map((place) => place.key)
      const expected = [...this.#documents].filter(([, document]) => isLinkedTo(document, key)).map(([from]) => from)
      assert.deepEqual(found.sort(), expected.sort(), `links to ${key}`)
      assert.ok(store.referrers(target, 1).length <= 1)
    }
  }

  /** A removal names what is there, as an author's does. */
  #draw(document: Document): [number, Value] {
    const amount = (): number => randomInteger(this.#random, 0, 9)
    const link = (): Reference => ['climate', '', this.#pick(KEYS)]
    const seen = document.paths.flatMap((name, i): Value[] => {
      const kind = kindOfCell(name)
      const write = document.writes[i] as Document['writes'][number]
      if (document.values[i] === null || (kind !== 'set' && kind !== 'link')) return []
      return [[subOfCell(name), write.hlc, write.index, write.origin]]
    })
    const what = this.#random()
    if (what < 0.1) return [OP_DELETE, null]
    if (what < 0.2) return [OP_PUT, amount()]
    if (what < 0.4) return [OP_COUNTER, [amount(), amount()]]
    if (what < 0.5) return [OP_ADD, [amount(), 'x']]
    if (what < 0.8 || seen.length === 0) return [OP_LINK, [link(), [...link(), 'labelled'] as unknown as Reference]]
    return [OP_REMOVE, seen.filter((_, i) => i === 0 || this.#random() < 0.7)]
  }

  #pick<T>(items: readonly T[]): T {
    return items[randomInteger(this.#random, 0, items.length - 1)] as T
  }
}

function isLinkedTo(document: Document, key: string): boolean {
  return document.paths.some((name, i) => {
    const value = document.values[i]
    return kindOfCell(name) === 'link' && value !== null && (value as Reference)[2] === key
  })
}

function cellsOf({ deleted, paths, values, writes }: Document): unknown {
  const cells = paths.map((name, i) => {
    const { hlc, index, origin, seq } = writes[i] as Document['writes'][number]
    return [name, values[i], hlc, index, origin, seq]
  })
  return [
    deleted && [deleted.hlc, deleted.origin, deleted.seq],
    cells.toSorted(([a], [b]) => ((a as string) < (b as string) ? -1 : 1)),
  ]
}
