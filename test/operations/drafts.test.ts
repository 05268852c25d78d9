import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MarramError, type ErrorCode } from '../../runtime/base/errors.ts'
import { hex } from '../../runtime/base/bytes.ts'
import type { Feed } from '../../runtime/model/batch.ts'
import type { Document } from '../../runtime/model/document.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import type { Value } from '../../runtime/model/value.ts'
import { Drafts } from '../../runtime/operations/drafts.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import type { KeyValue } from '../../runtime/ports/store.ts'

const feedIn = (incarnation: number): Feed =>
  ({ origin: 'self', descriptor: { incarnation: new Uint8Array(8).fill(incarnation) } }) as unknown as Feed
const [DRAFT, MEMBER] = [feedIn(1), feedIn(2)]

/** A gateway that was let in, and what it holds of one collection. */
class Bench {
  readonly documents = new Map<string, Document>()
  readonly records: KeyValue[] = []
  /** What stops a write of that key. */
  readonly faults = new Map<string, ErrorCode>()
  /** What users write while that key is written again. */
  readonly meanwhile = new Map<string, () => void>()
  readonly drafts = new Drafts('self', SILENT_LOG)

  constructor() {
    this.drafts.add(hex(DRAFT.descriptor.incarnation))
  }

  put(key: string, v: Value, feed: Feed = DRAFT): void {
    const write = { feed, origin: feed.origin, seq: 1, hlc: 1, index: 0 }
    this.documents.set(key, { deleted: null, paths: ['v'], values: [v], writes: [write], lsn: 1 })
  }

  async writeAgain(): Promise<void> {
    const store = {
      spaces: () => [{ collection: 'climate', partition: '' }],
      scan: () => [...this.documents].map(([key, document]) => ({ key, document })),
      get: (_: unknown, key: string) => this.documents.get(key),
      append: ({ records }: { records: KeyValue[] }) => Promise.resolve(void this.records.push(...records)),
    }
    await this.drafts.writeAgain(store as unknown as Parameters<Drafts['writeAgain']>[0], {
      write: async (_, __, [op]) => {
        assert.ok(op?.kind === 'put')
        const fault = this.faults.get(op.key)
        if (fault) throw new MarramError(fault, fault)
        this.put(op.key, op.fields['v'] as Value, MEMBER)
        this.meanwhile.get(op.key)?.()
        return {} as never
      },
    })
  }

  get shown(): { readonly [key: string]: Value | undefined } {
    return Object.fromEntries([...this.documents].map(([key, document]) => [key, fieldsOf(document)['v']]))
  }

  get isDone(): boolean {
    return this.records.some(({ value }) => value && Buffer.from(value).toString() === 'written')
  }
}

for (const code of ['no-key', 'not-permitted', 'too-large', 'storage-damaged'] as const) {
  test(`what can't be written again (${code}) keeps nothing else from it, and waits for the next start`, async () => {
    const bench = new Bench()
    for (const key of ['a', 'b', 'c']) bench.put(key, 1)
    bench.faults.set('b', code)
    await bench.writeAgain()
    const isDraft = (key: string): boolean => bench.documents.get(key)?.writes[0]?.feed === DRAFT
    assert.deepEqual([isDraft('a'), isDraft('b'), isDraft('c'), bench.isDone], [false, true, false, false])
    bench.faults.clear()
    await bench.writeAgain()
    assert.deepEqual([isDraft('b'), bench.isDone], [false, true])
  })
}

for (const code of ['closed', 'storage-full'] as const) {
  test(`writing again that is cut short (${code}) fails nobody, and goes on with the next start`, async () => {
    const bench = new Bench()
    bench.put('a', 1)
    bench.faults.set('a', code)
    await bench.writeAgain()
    assert.equal(bench.isDone, false)
    bench.faults.clear()
    await bench.writeAgain()
    assert.equal(bench.isDone, true)
  })
}

test('what is written again never takes the place of what its users write meanwhile', async () => {
  const bench = new Bench()
  bench.put('a', 1)
  bench.put('b', 1)
  bench.meanwhile.set('a', () => bench.put('b', 2, MEMBER))
  await bench.writeAgain()
  assert.deepEqual(bench.shown, { a: 1, b: 2 })
})
