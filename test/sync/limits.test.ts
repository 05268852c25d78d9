import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GATEWAY_LIMITS } from '../../runtime/base/limits.ts'
import { encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import type { Message } from '../../runtime/wire/message.ts'
import { Played } from './played.ts'

const FEEDS_A_FRAME = 100

test('of one author no more feeds are taken than the limit, the next is passed over in silence, and those within it are asked for', () => {
  const played = new Played()
  const { descriptor } = played.neighboursFeed('climate')
  const feeds = Array.from({ length: GATEWAY_LIMITS.feedsPerOriginMax + 1 }, (_, alias): Message => {
    return {
      type: 'feed',
      alias,
      descriptor: encodeDescriptor({ ...descriptor, partition: `room-${alias}` }),
      chain: [],
    }
  })
  for (let i = 0; i < feeds.length; i += FEEDS_A_FRAME) played.say(...feeds.slice(i, i + FEEDS_A_FRAME))
  const [last, beyond] = [GATEWAY_LIMITS.feedsPerOriginMax - 1, GATEWAY_LIMITS.feedsPerOriginMax]
  played.pass(100)
  const heads = [last, beyond].map((alias) => [alias, 1, new Uint8Array(8)] as const)
  played.say({ type: 'have', entries: heads, marker: null })
  const said = played.pass(500)
  const asked = said.flatMap((message) => (message.type === 'want' ? message.entries.map(([alias]) => alias) : []))
  assert.deepEqual(asked, [last])
  assert.deepEqual(
    said.filter(({ type }) => type === 'nack'),
    [],
  )
})

test('who asks by number for all that could ever be has an end', () => {
  const played = new Played()
  played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: 1 } })
  played.pass(500)
  const alias = played.aliasOf('climate')
  played.say({ type: 'want', entries: [[alias, 1, 0, [1, Number.MAX_SAFE_INTEGER]]] })
  const sent = played.pass(500).flatMap((message) => (message.type === 'data' ? message.batches : []))
  assert.equal(sent.length, 1)
})

test('SPEC I31: what is told of feeds beyond the limit is named with the cursor as lacking, so that nobody takes them to be here', () => {
  const played = new Played()
  const { descriptor } = played.neighboursFeed('climate')
  const { feedsPerOriginMax } = GATEWAY_LIMITS
  for (let from = 0; from <= feedsPerOriginMax; from += FEEDS_A_FRAME) {
    const count = Math.min(FEEDS_A_FRAME, feedsPerOriginMax + 1 - from)
    const feeds = Array.from({ length: count }, (_, i): Message => {
      const partition = `room-${from + i}`
      return { type: 'feed', alias: from + i, descriptor: encodeDescriptor({ ...descriptor, partition }), chain: [] }
    })
    played.say(...feeds)
  }
  const marker = { lsn: 5, frames: 0, numbered: 1 }
  const told: Message = { type: 'have', entries: [[feedsPerOriginMax, 1, new Uint8Array(8)]], marker }
  played.say({ type: 'number', number: 1 }, told)
  const acks = played.pass(1_000).filter((message) => message.type === 'ack')
  assert.deepEqual(
    acks.map(({ lsn, lacking }) => [lsn, lacking]),
    [[5, [feedsPerOriginMax]]],
  )
})
