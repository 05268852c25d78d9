import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MarramError } from '../../runtime/base/errors.ts'
import { gateway, link, unlink, until, type Gateway } from './gateways.ts'

const FAR = 60_000
const documentsOnly = { isSeries: false }

/** For SPEC I31: a gateway whose disk takes nothing from `hold` to `release`. */
function withSlowDisk(name: number): {
  readonly slow: Gateway
  readonly hold: () => void
  readonly release: () => void
} {
  const waiting: (() => void)[] = []
  let isHeld = false
  const slow = gateway(name, {
    isSeries: false,
    onFlush: (_, done) => (isHeld ? void waiting.push(done) : queueMicrotask(done)),
  })
  return {
    slow,
    hold: () => {
      isHeld = true
    },
    release: () => {
      isHeld = false
      for (const done of waiting.splice(0)) done()
    },
  }
}

async function failure(write: Promise<unknown>): Promise<MarramError> {
  const error = await write.then(
    () => assert.fail('it succeeded'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof MarramError)
  return error
}

const heldBy = ({ driver }: Gateway): number[] =>
  driver.view.holdings.map(({ lag }) => lag.reduce((sum, { held, head }) => sum + head - held, 0))

test('a write returns once so many others have it on their disks, and says how many', async () => {
  const [a, b, c] = [gateway(1, documentsOnly), gateway(2, documentsOnly), gateway(3, documentsOnly)]
  link(a, b, 1)
  link(a, c, 2)
  const { held } = await a.documents.put('climate', 'kitchen', { temperature: 21 }, { wait: 2, timeoutMs: FAR })
  assert.equal(held, 2)
  for (const each of [b, c]) assert.deepEqual(each.documents.get('climate', 'kitchen')?.value, { temperature: 21 })
  const batch = await a.documents.batch('climate', [{ key: 'kitchen' }, { key: 'attic', fields: { temperature: 9 } }], {
    wait: 1,
  })
  assert.ok(batch.held !== undefined && batch.held >= 1)
  const deleted = await a.documents.delete('climate', 'attic', { wait: 2 })
  assert.equal(deleted.held, 2)
  const plain = await a.documents.put('climate', 'cellar', { temperature: 9 })
  assert.equal('held' in plain, false)
  for (const { driver } of [a, b, c]) await driver.close()
})

test('what a neighbour has received and not flushed does not count', async () => {
  const a = gateway(1, documentsOnly)
  const { slow, hold, release } = withSlowDisk(2)
  link(a, slow, 1)
  await a.documents.put('climate', 'kitchen', { n: 0 }, { wait: 1, timeoutMs: FAR })
  hold()
  const few = await failure(a.documents.put('climate', 'kitchen', { n: 1 }, { wait: 1, timeoutMs: 200 }))
  assert.equal(few.code, 'unconfirmed')
  assert.match(few.message, /0 of 1 other gateways.*the write itself is done/)
  assert.deepEqual(a.documents.get('climate', 'kitchen')?.value, { n: 1 }, 'the write stands')
  assert.deepEqual(heldBy(a), [1])
  const waiting = a.documents.put('climate', 'kitchen', { n: 2 }, { wait: 1, timeoutMs: FAR })
  release()
  assert.equal((await waiting).held, 1)
  await until('all of it is confirmed', () => heldBy(a)[0] === 0)
  for (const { driver } of [a, slow]) await driver.close()
})

test('what a neighbour has confirmed counts when its link has gone, and what it lacks since is known', async () => {
  const [a, b] = [gateway(1, documentsOnly), gateway(2, documentsOnly)]
  link(a, b, 1)
  await a.documents.put('climate', 'kitchen', { n: 1 }, { wait: 1, timeoutMs: FAR })
  unlink(a, b, 1)
  for (const n of [2, 3]) await a.documents.put('climate', 'kitchen', { n })
  assert.deepEqual(heldBy(a), [2])
  const few = await failure(a.documents.put('climate', 'kitchen', { n: 4 }, { wait: 1, timeoutMs: 1 }))
  assert.equal(few.code, 'unconfirmed')
  link(a, b, 2)
  await until('it has caught up', () => heldBy(a)[0] === 0)
  for (const { driver } of [a, b]) await driver.close()
})

test('a neighbour whose store was put back has what it has now, not what it had confirmed', async () => {
  const [a, b] = [gateway(1, documentsOnly), gateway(2, documentsOnly)]
  link(a, b, 1)
  for (const n of [1, 2, 3]) await a.documents.put('climate', 'kitchen', { n }, { wait: 1, timeoutMs: FAR })
  unlink(a, b, 1)
  assert.deepEqual(heldBy(a), [0])
  // The same database, as it was at first; its disk takes nothing for now.
  const { slow, hold, release } = withSlowDisk(2)
  hold()
  link(a, slow, 2)
  await until('it has greeted', () => a.driver.view.links.some(({ isGreeted }) => isGreeted))
  assert.deepEqual(heldBy(a), [3])
  const few = await failure(a.documents.put('climate', 'kitchen', { n: 4 }, { wait: 1, timeoutMs: 50 }))
  assert.equal(few.code, 'unconfirmed')
  release()
  await until('it has all', () => heldBy(a)[0] === 0)
  for (const { driver } of [a, slow]) await driver.close()
})

test('a wait that is no number, or for longer than a day, is refused before anything is written', async () => {
  const a = gateway(1, documentsOnly)
  for (const wrong of [{ wait: -1 }, { wait: 1.5 }, { wait: 1, timeoutMs: -1 }, { wait: 1, timeoutMs: 1e9 }]) {
    assert.equal((await failure(a.documents.put('climate', 'kitchen', { n: 1 }, wrong))).code, 'bad-request')
  }
  assert.equal(a.documents.get('climate', 'kitchen'), undefined)
  await a.driver.close()
})
