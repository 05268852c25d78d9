import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Batch } from '../../runtime/model/batch.ts'
import { msOfHlc } from '../../runtime/model/stamp.ts'
import { encodeBatch } from '../../runtime/wire/batch.ts'
import { encodeMessages, type Message } from '../../runtime/wire/message.ts'
import { fakeSignature } from '../simulation/gateway.ts'
import { Author } from './author.ts'
import { Played, START_MS } from './played.ts'

const HOUR_MS = 3_600_000
const CREDIT = 1_048_576
/** The neighbour's first. */
const LINK = 100

test('a batch whose signature is another’s is not taken', () => {
  const played = new Played()
  const author = new Author(played, 1)
  const { feed } = author
  const { header, body } = author.put('hall', { temperature: 1 })
  const forged = encodeBatch({
    meshId: played.meshId,
    feed,
    seq: 1,
    prev: header.prev,
    hlc: header.hlc,
    ops: { body, flags: header.flags & 15 },
    clockClass: 2,
    sign: (message) => fakeSignature(played.keys[2] as Uint8Array, message),
  })
  assert.ok(forged.ok)
  author.tell(1)
  played.say({ type: 'data', batches: [forged.value.bytes] })
  played.pass(500)
  assert.equal(played.gateway.disk.head(feed.key), undefined)
})

test('only what its author signed makes a feed wait: a stamp may have turned on the disk of who sends it', () => {
  const played = new Played()
  const author = new Author(played, 1)
  const { bytes, header } = author.put('hall', { temperature: 1 })
  const turned = bytes.slice()
  const stamp = Buffer.alloc(8)
  stamp.writeBigUInt64BE(BigInt(header.hlc))
  const at = bytes.indexOf(stamp[2] as number, Buffer.from(bytes).indexOf(stamp))
  turned[at] = (bytes[at] as number) ^ 128
  author.tell(1)
  played.say({ type: 'data', batches: [turned] })
  const nacks = played.pass(5_000).filter((message) => message.type === 'nack')
  assert.deepEqual(
    nacks.map(({ code }) => code),
    ['shape'],
  )
  played.say({ type: 'data', batches: [bytes] })
  played.pass(500)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 1)
})

test('a batch from the future does not lift the clock', () => {
  const played = new Played()
  const author = new Author(played, 1)
  author.put('hall', { temperature: 1 }, HOUR_MS)
  author.push()
  played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: 2 } })
  played.pass(500)
  const aheadMs = msOfHlc(played.gateway.engine?.view.clock ?? 0) - START_MS - played.schedule.now
  assert.ok(aheadMs <= 0, `its clock is ${aheadMs} ms ahead`)
})

test('while the disk refuses what comes it is asked for more and more seldom, and soon when there is room', () => {
  const played = new Played()
  const author = new Author(played, 1)
  for (let n = 1; n <= 3; n++) author.put('hall', { n })
  played.gateway.isDiskFull = true
  let said = author.tell(3)
  let asked = 0
  const answerFor = (ms: number): void => {
    for (const until = played.schedule.now + ms; played.schedule.now < until; said = played.pass(100)) {
      for (const [, from, mode] of said.flatMap((message) => (message.type === 'want' ? message.entries : []))) {
        if (mode !== 1) continue
        asked += 1
        played.say({ type: 'data', batches: author.batches.slice(from - 1).map(({ bytes }) => bytes) })
        author.tell(3)
      }
    }
  }
  answerFor(300_000)
  assert.ok(asked < 20, `it was asked ${asked} times`)
  played.gateway.isDiskFull = false
  answerFor(60_000)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 3)
})

test('who asks again says again how much it may be sent, for that may be lost and then nothing comes', () => {
  const played = new Played()
  const author = new Author(played, 1)
  author.put('hall', { n: 1 })
  author.tell(1)
  const said = played.pass(10_000).filter(({ type }) => type === 'want' || type === 'ack')
  assert.deepEqual(
    said.map(({ type }) => type),
    ['want', 'ack', 'want', 'ack'],
  )
})

/** The bytes of batches that the gateway let its neighbour send so far, beyond what it did at first. */
function givenBack(said: readonly Message[]): number {
  return Math.max(0, ...said.flatMap((message) => (message.type === 'ack' ? [message.credit - CREDIT] : [])))
}

test('what is cut before it goes to the disk is no longer counted as under way', () => {
  const played = new Played(3)
  const { gateway } = played
  const author = new Author(played, 2)
  const [first, second] = [author.put('hall', { n: 1 }), author.put('hall', { n: 2 })]
  author.push(1)
  author.tell(2)
  // Both are answered before anything else is decided.
  const { engine } = gateway
  engine?.handle(gateway.now(), {
    type: 'frame',
    link: LINK,
    bytes: encodeMessages([{ type: 'data', batches: [second.bytes] }]),
  })
  const seals = new Map([[author.feed.key, 2]])
  for (let output = engine?.poll(); output; output = engine?.poll()) {
    if (output.type !== 'verify') continue
    engine?.handle(gateway.now(), { type: 'verified', ticket: output.ticket, isValid: true })
    break
  }
  gateway.authority.addRemoval({ origin: author.feed.origin, reason: 'revoke', seals, bound: new Set() })
  engine?.handle(gateway.now(), { type: 'authority-changed' })
  played.say({ type: 'have', entries: [], marker: null })
  assert.equal(givenBack(played.pass(1_000)), first.bytes.length + second.bytes.length)
})

test('the checkpoint that a fill ends with is given credit for once, however often the disk refuses it', () => {
  const played = new Played()
  const { gateway } = played
  const author = new Author(played, 1)
  for (let n = 1; n <= 3; n++) author.put('hall', { n })
  const checkpoint = author.checkpoint([3])
  const part = author.batches[2] as Batch
  Object.assign(played, { event: (_: number, name: string) => (gateway.isDiskFull ||= name === 'jumped') })
  const said = [...author.tell(4)]
  for (const { bytes } of [checkpoint, part]) {
    played.say({ type: 'data', batches: [bytes] })
    said.push(...played.pass(200))
  }
  assert.ok(gateway.isDiskFull, 'it never jumped')
  assert.equal(givenBack(said), checkpoint.bytes.length + part.bytes.length)
})
