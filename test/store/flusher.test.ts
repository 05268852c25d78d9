import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { TokenBucket } from '../../runtime/store/bucket.ts'
import { Flusher, type Flushable } from '../../runtime/store/flusher.ts'

interface Item extends Flushable {
  readonly name: string
}

/** A disk that ends a flush when told, and has room when told. */
class ManualDisk {
  readonly flushes: string[] = []
  room = Number.POSITIVE_INFINITY
  #done: (() => void) | null = null

  hasRoom({ bytes }: Flushable): boolean {
    return bytes <= this.room
  }

  flush(items: readonly Item[], done: () => void): void {
    this.flushes.push(items.map(({ name }) => name).join(''))
    this.#done = done
  }

  end(): void {
    const done = this.#done
    this.#done = null
    done?.()
  }
}

const SMALL = 100
const BULK = 20_000
const turn = (): Promise<void> => new Promise((resolve) => queueMicrotask(resolve))

function makeFlusher(bucket: TokenBucket | null = null): {
  disk: ManualDisk
  add: (name: string, bytes?: number, memory?: number) => void
  flusher: Flusher<Item>
} {
  const disk = new ManualDisk()
  const flusher = new Flusher<Item>(disk, bucket, { bytes: 50_000, memory: 1_000_000 })
  return { disk, flusher, add: (name, bytes = SMALL, memory = bytes) => flusher.add({ name, bytes, memory }) }
}

describe('flusher', () => {
  test('a lone write goes at once; what comes meanwhile is one flush', async () => {
    const { disk, add } = makeFlusher()
    add('a')
    await turn()
    for (const name of ['b', 'c', 'd']) add(name)
    await turn()
    assert.deepEqual(disk.flushes, ['a'])
    disk.end()
    assert.deepEqual(disk.flushes, ['a', 'bcd'])
  })

  test('writers of one turn share a flush', async () => {
    const { disk, add } = makeFlusher()
    add('a')
    add('b')
    await turn()
    assert.deepEqual(disk.flushes, ['ab'])
  })

  test('a flush is bounded; what is greater than the bound goes alone', async () => {
    const { disk, add } = makeFlusher()
    add('a', BULK)
    add('b', BULK)
    add('c', BULK)
    add('D', 60_000)
    add('e', SMALL)
    await turn()
    for (let i = 0; i < 4; i++) disk.end()
    assert.deepEqual(disk.flushes, ['ab', 'c', 'D', 'e'])
  })

  test('a flush is bounded in what it will take in memory as well', async () => {
    const { disk, add } = makeFlusher()
    for (const name of ['a', 'b', 'c']) add(name, SMALL, 400_000)
    await turn()
    disk.end()
    assert.deepEqual(disk.flushes, ['ab', 'c'])
  })

  test('waits for room, in order, and goes on when told', async () => {
    const { disk, add, flusher } = makeFlusher()
    disk.room = 0
    add('a')
    add('b')
    await turn()
    assert.deepEqual(disk.flushes, [])
    disk.room = 1000
    flusher.pump()
    assert.deepEqual(disk.flushes, ['ab'])
  })

  test('without a token small writes gather, and bulk does not wait', async () => {
    // One token an hour: the first flush takes it.
    const { disk, add } = makeFlusher(new TokenBucket(1 / 3600, performance.now()))
    const { disk: other, add: addOther } = makeFlusher(spentBucket())
    add('a', BULK)
    await turn()
    disk.end()
    assert.deepEqual(disk.flushes, ['a'])
    addOther('a')
    addOther('b')
    await turn()
    assert.deepEqual(other.flushes, [])
    addOther('C', BULK)
    await turn()
    assert.deepEqual(other.flushes, ['abC'])
    other.end()
  })

  test('what is withdrawn is never flushed, and idle says when all is done', async () => {
    const { disk, add, flusher } = makeFlusher()
    add('a')
    await turn()
    add('b')
    let isIdle = false
    const idle = flusher.idle().then(() => {
      isIdle = true
    })
    assert.deepEqual(
      flusher.withdraw().map(({ name }) => name),
      ['b'],
    )
    await turn()
    assert.equal(isIdle, false)
    disk.end()
    await idle
    assert.deepEqual(disk.flushes, ['a'])
    await flusher.idle()
  })
})

function spentBucket(): TokenBucket {
  const bucket = new TokenBucket(1 / 3600, performance.now())
  // It begins with less than one token.
  assert.ok(bucket.take(performance.now()) > 0)
  return bucket
}

describe('token bucket', () => {
  test('gives a burst at once and then one token a period', () => {
    const bucket = new TokenBucket(10, 0)
    for (let i = 0; i < 10; i++) assert.equal(bucket.take(0), 0)
    assert.equal(bucket.take(0), 100)
    assert.equal(bucket.take(50), 50)
    assert.equal(bucket.take(100), 0)
    assert.equal(bucket.take(100), 100)
  })

  test('never holds more than a burst, however long it rests, and a clock that goes back gives none', () => {
    const bucket = new TokenBucket(2, 0)
    const taken = [1e6, 1e6, 1e6].map((now) => bucket.take(now))
    assert.deepEqual(taken, [0, 0, 500])
    assert.equal(bucket.take(0), 500)
  })
})
