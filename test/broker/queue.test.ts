import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { RoutedPacket } from '../../runtime/broker/clients.ts'
import { Queue, type KeptMessage } from '../../runtime/broker/queue.ts'

const LIMITS = { maxQueued: 3, maxQueuedBytes: 100 }

function message(number: number, bytes = 10): KeptMessage {
  const packet = {
    cmd: 'publish',
    topic: 't',
    payload: 'x',
    qos: 2,
    retain: false,
    dup: false,
    brokerId: 'b',
    brokerCounter: number,
  } as const
  return { number, packet, bytes, sessions: 1 }
}

function queueOf(...messages: readonly KeptMessage[]): Queue {
  const queue = new Queue()
  for (const one of messages) {
    queue.reserve(one.bytes, { maxQueued: Infinity, maxQueuedBytes: Infinity })
    queue.add(one)
  }
  return queue
}

test('a place is taken before the message comes, and given back when it does not', () => {
  const queue = new Queue()
  assert.deepEqual(
    [1, 2, 3, 4].map(() => queue.reserve(10, LIMITS)),
    [true, true, true, false],
  )
  queue.unreserve(10)
  assert.equal(queue.reserve(81, LIMITS), false)
  assert.equal(queue.reserve(80, LIMITS), true)
  assert.deepEqual([queue.count, queue.bytes], [3, 100])
})

test('two messages in flight never share an identifier, not where the numbers begin again', () => {
  const [one, two, three] = [message(1), message(2), message(3)]
  const queue = queueOf(one, two, three)
  assert.equal(queue.assign(one.packet, 65_535), 65_535)
  assert.equal(queue.assign(two.packet, 65_535), 1)
  assert.equal(queue.assign(three.packet, 65_535), 2)
})

test('a message that finds every identifier in flight has none, until one is free', () => {
  const queue = queueOf(...Array.from({ length: 65_536 }, (_, i) => message(i)))
  for (let i = 0; i < 65_535; i++) queue.assign(message(i).packet, i + 1)
  assert.equal(queue.assign(message(65_535).packet, 1), undefined)
  assert.ok(queue.isUnsent(message(65_535).packet))
  queue.remove(7)
  assert.equal(queue.assign(message(65_535).packet, 1), 7)
})

test('a message that is sent again keeps its identifier', () => {
  const one = message(1)
  const queue = queueOf(one)
  assert.ok(queue.isUnsent(one.packet))
  assert.equal(queue.assign(one.packet, 7), 7)
  assert.deepEqual([queue.isUnsent(one.packet), queue.isAgain(7)], [false, false])
  assert.equal(queue.assign(one.packet, 9), 7)
  assert.equal(queue.isAgain(7), true)
})

test('a message that the client has received is replaced by its release, and goes with the acknowledgement', () => {
  const [one, two] = [message(1), message(2)]
  const queue = queueOf(one, two)
  queue.assign(one.packet, 7)
  queue.release({ cmd: 'pubrel', messageId: 7 })
  assert.deepEqual([...queue.packets()][0], { cmd: 'pubrel', messageId: 7 })
  queue.remove(7)
  queue.remove(7)
  assert.deepEqual(queue.messages(), [two])
  assert.deepEqual([queue.count, queue.bytes], [1, 10])
})

test('a message that is not in the queue has no identifier', () => {
  const packet: RoutedPacket = message(1).packet
  assert.equal(new Queue().assign(packet, 1), undefined)
  assert.equal(new Queue().isUnsent(packet), false)
})
