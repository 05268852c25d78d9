import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MarramError } from '../../runtime/base/errors.ts'
import { createDeviceDoor, type DeviceDoor, type Quarantined } from '../../runtime/devices/door.ts'
import type { Broker, OutgoingMessage } from '../../runtime/ports/broker.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { checkProfile } from '../../runtime/profile/parse.ts'
import { resolveProfile } from '../../runtime/profile/resolve.ts'
import { FakeOperations } from '../http/fake-operations.ts'

async function openDoor(): Promise<{
  door: DeviceDoor
  broker: { -readonly [name in keyof Broker]: Broker[name] }
  operations: FakeOperations
  said: OutgoingMessage[]
  putAside: Quarantined[]
}> {
  const parsed = checkProfile({ schemaVersion: 1, id: 'test' }, { path: 'test' })
  if (!parsed.ok) throw new Error('the profile is wrong')
  const operations = new FakeOperations()
  const said: OutgoingMessage[] = []
  const putAside: Quarantined[] = []
  const door = createDeviceDoor({
    profile: resolveProfile(parsed.value.profile),
    operations,
    bridge: null,
    holder: { isHolding: () => false, hold: async () => {} },
    putAside: (message) => putAside.push(message),
    log: SILENT_LOG,
  })
  const broker = {
    publish: async (message: OutgoingMessage): Promise<void> => void said.push(message),
    isWatched: () => true,
    listeners: () => [],
    useCredentials: () => {},
    status: () => ({ clients: 0, sessions: 0, retained: 0, queuedMessages: 0, queuedBytes: 0 }),
    close: async () => {},
  }
  await door.start(broker)
  said.length = 0
  return { door, broker, operations, said, putAside }
}

test('a gateway starts and stops although its disk takes nothing', async () => {
  const { door, broker, said } = await openDoor()
  broker.publish = async () => {
    throw new MarramError('storage-full', 'the disk is full')
  }
  await door.stop()
  await door.start(broker)
  assert.deepEqual(said, [])
})

test('a document is told to whoever subscribes to its topic, to wildcards above it, and to all below it', async () => {
  const { door, operations } = await openDoor()
  await operations.put('climate', 'kitchen', { t: 1 })
  for (const filter of ['climate/kitchen', 'climate/+', 'climate/#', 'climate/kitchen/#', 'climate/+/#'])
    assert.deepEqual(
      [...door.retained(`marram/data/${filter}`)],
      [{ topic: 'marram/data/climate/kitchen', payload: '{"t":1}' }],
      filter,
    )
  for (const filter of ['climate/kitchen/+', 'climate/kitchen/x', 'climate/kitchen/x/#', 'climate'])
    assert.deepEqual([...door.retained(`marram/data/${filter}`)], [], filter)
})

test('a request whose answer would have too long a topic is put aside, one that is just short enough is answered', async () => {
  const { door, said, putAside } = await openDoor()
  const ask = (length: number): Promise<'forward' | 'consume'> =>
    door.publish({
      topic: 'marram/request/'.padEnd(length, 'x'),
      payload: new Uint8Array(),
      qos: 1,
      retain: false,
      clientId: 'c',
      user: null,
    })
  assert.equal(await ask(65_535), 'consume')
  assert.deepEqual(
    said.map(({ topic }) => topic),
    ['marram/error'],
  )
  assert.deepEqual(
    putAside.map(({ code }) => code),
    ['bad-request'],
  )
  assert.equal(await ask(65_534), 'consume')
  assert.equal(said.at(-1)?.topic.length, 65_535)
})
