import { writeSync } from 'node:fs'
import { seededRandom, randomInteger } from '../../runtime/base/random.ts'
import { Author, type Write } from '../contract/author.ts'
import { openTestStore } from './disk-fixture.ts'

/**
 * Appends until it is killed, and says on stdout what was acknowledged, one line of `author sequence` each. Small ring and
 * table, so that sweeps go on all the time. Arguments: directory, seed.
 */
const [, , dir = '', seed = '0'] = process.argv
const random = seededRandom(Number(seed))
const store = await openTestStore(dir, { ring: { segments: 3, segmentBytes: 65_536 }, tableBytesMax: 131_072 })

async function write(name: string): Promise<void> {
  const author = new Author(name)
  author.resume(store.head(author.feed.key))
  for (;;) {
    const batches = Array.from({ length: randomInteger(random, 1, 4) }, () => author.batch(someWrites()))
    const last = batches.at(-1)?.batch.header.seq as number
    await store.append({ batches, records: [{ key: `last/${name}`, value: Buffer.from(String(last)) }] })
    writeSync(1, `${name} ${last}\n`)
  }
}

function someWrites(): Write[] {
  return Array.from({ length: randomInteger(random, 1, 12) }, () => {
    const key = `k${randomInteger(random, 0, 400)}`
    if (random() < 0.05) return [key, null]
    return [key, { [`f${randomInteger(random, 0, 3)}`]: 'x'.repeat(randomInteger(random, 0, 100)) }]
  })
}

writeSync(1, 'ready\n')
await Promise.all(['a', 'b', 'c'].map(write))
