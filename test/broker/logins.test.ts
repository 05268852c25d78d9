import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import type { IClientOptions } from 'mqtt'
import { isLoopback } from '../../runtime/broker/clients.ts'
import { hashPassword, type User } from '../../runtime/broker/users.ts'
import { createMemoryStore } from '../../runtime/store/memory.ts'
import { connect, Inbox, openBroker, RecordingHandler, until } from './fixture.ts'
import { RawClient } from './raw-client.ts'

const password = await hashPassword('secret')
const USERS = new Map<string, User>([
  ['plug', { password, topics: ['tele/plug/#'], subscribe: ['marram/data/+/plug'] }],
  ['panel', { password, topics: ['panel/#'], publish: ['cmnd/#'] }],
])
const users = (): Map<string, User> => USERS

function as(username: string, options: IClientOptions = {}): IClientOptions {
  return { username, password: 'secret', ...options }
}

test('a login needs its password; without one only whom the rules name gets in', async (t) => {
  const { broker, port } = await openBroker({ users, anonymous: 'none' })
  t.after(() => broker.close())
  ;(await connect(port, as('plug'))).end(true)
  for (const options of [as('plug', { password: 'wrong' }), as('nobody'), { username: 'plug' }, {}])
    await assert.rejects(connect(port, options))
})

test('a user that was removed gets in no more', async (t) => {
  const table = new Map(USERS)
  const { broker, port } = await openBroker({ users: () => table })
  t.after(() => broker.close())
  ;(await connect(port, as('plug'))).end(true)
  table.delete('plug')
  await assert.rejects(connect(port, as('plug')))
})

test('a users file that cannot be read lets nobody in, and the broker goes on', async (t) => {
  const { broker, port } = await openBroker({
    users: () => {
      throw new Error('EACCES')
    },
  })
  t.after(() => broker.close())
  await assert.rejects(connect(port, as('plug')))
  ;(await connect(port)).end(true)
})

test('loopback is this machine, in whatever form', () => {
  for (const address of ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1']) assert.ok(isLoopback(address), address)
  for (const address of ['10.0.0.1', '::ffff:10.0.0.1', '::2', undefined, '']) assert.ok(!isLoopback(address), address)
})

test('a user publishes and subscribes within its topics', async (t) => {
  const handler = new RecordingHandler()
  const { broker, port } = await openBroker({ users, handler })
  t.after(() => broker.close())
  const plug = await connect(port, as('plug'))
  const panel = await connect(port, as('panel'))
  t.after(() => [plug.end(true), panel.end(true)])
  await plug.publishAsync('tele/plug/STATE', 'x', { qos: 1 })
  await plug.publishAsync('tele/other/STATE', 'x', { qos: 1 })
  await plug.publishAsync('marram/data/climate/plug/set', '{}', { qos: 1 })
  await panel.publishAsync('cmnd/plug/POWER', 'ON', { qos: 1 })
  assert.deepEqual(
    handler.messages.map(({ topic, user }) => [topic, user]),
    [
      ['tele/plug/STATE', 'plug'],
      ['cmnd/plug/POWER', 'panel'],
    ],
  )
  await plug.subscribeAsync(['tele/plug/+', 'marram/data/climate/plug'])
  for (const filter of ['#', 'tele/#', 'tele/+/STATE', 'cmnd/#'])
    await assert.rejects(plug.subscribeAsync(filter), filter)
  await assert.rejects(panel.subscribeAsync('cmnd/#'))
})

test('a session keeps no subscription that was refused, and hears nothing that its user lost the right to', async (t) => {
  const table = new Map(USERS)
  const { broker, port, store } = await openBroker({ users: () => table })
  t.after(() => broker.close())
  const lasting = as('plug', { clientId: 'plug-1', clean: false })
  const first = await connect(port, lasting)
  await assert.rejects(first.subscribeAsync(['tele/plug/a', 'panel/secret', 'tele/plug/b'], { qos: 1 }))
  first.end(true)
  await until(() => broker.status().clients === 0)
  const stored = store.scanRecords('broker/session/').map(({ value }) => Buffer.from(value ?? []).toString())
  assert.equal(stored.length, 1)
  assert.match(stored[0] ?? '', /tele\/plug\/a.*tele\/plug\/b/)
  assert.doesNotMatch(stored[0] ?? '', /secret/)
  const device = await connect(port)
  t.after(() => device.end(true))
  await device.publishAsync('panel/secret', 'no', { qos: 1 })
  await device.publishAsync('tele/plug/a', 'lost', { qos: 1 })
  await device.publishAsync('tele/plug/b', 'kept', { qos: 1 })
  table.set('plug', { password, topics: ['tele/plug/b'] })
  const again = await RawClient.dial(port)
  t.after(() => again.end())
  again.connect('plug-1', { clean: false, user: 'plug', password: 'secret' })
  const got = await again.until('publish')
  assert.ok(got?.body.includes('kept'))
  // The next thing it hears is the next thing it may hear.
  await device.publishAsync('tele/plug/a', 'lost too', { qos: 0 })
  await device.publishAsync('tele/plug/b', 'kept too', { qos: 0 })
  assert.ok((await again.until('publish'))?.body.includes('kept too'))
})

test('nobody takes over the client or the session of another login; a login may take those of an anonymous client', async (t) => {
  const store = createMemoryStore()
  const { broker, port } = await openBroker({ users, store })
  const plug = await connect(port, as('plug', { clientId: 'a', clean: false }))
  await plug.subscribeAsync('tele/plug/+', { qos: 1 })
  await assert.rejects(connect(port, as('panel', { clientId: 'a' })))
  await assert.rejects(connect(port, { clientId: 'a' }))
  assert.equal(plug.connected, true)
  plug.end(true)
  await until(() => broker.status().clients === 0)
  await assert.rejects(connect(port, as('panel', { clientId: 'a', clean: true })))
  const anonymous = await connect(port, { clientId: 'b', clean: false })
  await anonymous.subscribeAsync('x/#', { qos: 1 })
  const taken = await connect(port, as('panel', { clientId: 'b', clean: false }))
  await until(() => !anonymous.connected)
  await assert.rejects(connect(port, { clientId: 'b' }))
  taken.end(true)
  await broker.close()
  // And after a restart.
  const next = await openBroker({ users, store })
  t.after(() => next.broker.close())
  await assert.rejects(connect(next.port, { clientId: 'a' }))
  await assert.rejects(connect(next.port, { clientId: 'b' }))
  ;(await connect(next.port, as('plug', { clientId: 'a', clean: false }))).end(true)
})

test('two clients that come with one name at once do not both get it', async (t) => {
  const { broker, port } = await openBroker({ users })
  t.after(() => broker.close())
  const outcomes = await Promise.allSettled([
    connect(port, as('plug', { clientId: 'new' })),
    connect(port, as('panel', { clientId: 'new' })),
  ])
  const admitted = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  assert.equal(admitted.length, 1)
  admitted[0]?.end(true)
})

test('an empty client id with a lasting session is refused with return code 2, with a clean one it is named', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const lasting = await RawClient.dial(port)
  lasting.connect('', { clean: false })
  assert.deepEqual((await lasting.until('connack'))?.body, Buffer.from([0, 2]))
  await lasting.closed()
  const clean = await RawClient.dial(port)
  t.after(() => clean.end())
  clean.connect('', { clean: true })
  assert.deepEqual((await clean.until('connack'))?.body, Buffer.from([0, 0]))
})

test('a name that objects inherit is a client id like any other', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  for (const clientId of ['__proto__', 'constructor']) {
    const client = await connect(port, { clientId, clean: false })
    const inbox = new Inbox(client)
    await client.subscribeAsync('a/b', { qos: 1 })
    await client.publishAsync('a/b', 'x', { qos: 1 })
    await inbox.until(1)
    client.end(true)
  }
})

test('one client holds so many subscriptions and no more', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const client = await connect(port)
  t.after(() => client.end(true))
  const filters = Array.from({ length: 257 }, (_, i) => `a/${i}`)
  await assert.rejects(client.subscribeAsync(filters))
  await client.unsubscribeAsync(filters.slice(0, 10))
  await client.subscribeAsync(filters.slice(250))
  await assert.rejects(client.subscribeAsync('x'.repeat(2_000)))
})
