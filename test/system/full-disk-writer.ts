import { writeSync } from 'node:fs'
import { MarramError } from '../../runtime/base/errors.ts'
import { Author } from '../contract/author.ts'
import { openTestStore } from '../store/disk-fixture.ts'

/** Appends until the store says that the disk is full, then shows that reading goes on, and stops in order. */
const [, , dir = '', reserve = '0'] = process.argv
const store = await openTestStore(dir, {
  reserveFreeBytes: Number(reserve),
  ballastBytes: 1_048_576,
  tableBytesMax: 1_048_576,
})
const author = new Author('a')
author.resume(store.head(author.feed.key))
let acknowledged = store.head(author.feed.key)?.seq ?? 0
let code = ''
while (code === '') {
  const batch = author.batch([[`k${acknowledged % 500}`, { value: String(Math.sin(acknowledged)).repeat(400) }]])
  try {
    await store.append({ batches: [batch], records: [] })
    acknowledged = batch.batch.header.seq
  } catch (error) {
    code = error instanceof MarramError ? error.code : String(error)
  }
}
const { isFull } = store.status()
const documents = store.scan(author.space, { limit: 1000 }).length
const batches = store.batches(author.feed.key, acknowledged, 1).length
const head = store.head(author.feed.key)?.seq
await store.close()
writeSync(1, `${JSON.stringify({ code, isFull, acknowledged, head, documents, batches })}\n`)
