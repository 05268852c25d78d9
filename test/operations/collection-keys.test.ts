import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Keyring } from '../../runtime/access/keyring.ts'
import { newEpochKey, numberOfEpoch } from '../../runtime/crypto/epoch-key.ts'
import { deviceKeysFrom, peerIdOf, type DeviceKeys } from '../../runtime/crypto/identity.ts'
import { CollectionKeyService, type KeySurroundings } from '../../runtime/operations/collection-keys.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { gateway, type Gateway } from './gateways.ts'

const DAY = 86_400_000
const KEYS = new Map<string, DeviceKeys>()
const device = (number: number): DeviceKeys =>
  deviceKeysFrom(new Uint8Array(32).fill(number), new Uint8Array(32).fill(number))
/** The peer id of a member. */
function member(number: number): string {
  const keys = device(number)
  const peerId = peerIdOf(keys.publicKey)
  KEYS.set(peerId, keys)
  return peerId
}

const [ADMIN, READER, LATER] = [9, 2, 3].map(member) as [string, string, string]

/** Gateways that share one members' collection, as if all of it had reached everyone. */
class Bench {
  readonly shared: Gateway = gateway(9)
  readers: string[] = [ADMIN, READER]
  nowMs: number | null = Date.now()
  readonly saved: string[] = []

  service(
    peerId: string,
    more: Partial<KeySurroundings> = {},
  ): { keys: CollectionKeyService; keyring: Keyring; come: () => number } {
    const keyring = new Keyring()
    let come = 0
    const keys = new CollectionKeyService({
      store: this.shared.store,
      writer: this.shared.driver,
      keyring,
      save: () => this.saved.push(peerId),
      meshId: new Uint8Array(16).fill(1),
      peerId,
      linkSecretKey: (KEYS.get(peerId) as DeviceKeys).linkSecretKey,
      declared: () => (peerId === ADMIN ? ['secrets'] : []),
      isDeclared: (name) => (peerId === ADMIN ? name === 'secrets' : null),
      isAdministrator: () => peerId === ADMIN,
      readersOf: () => this.readers.map((id) => ({ peerId: id, linkKey: (KEYS.get(id) as DeviceKeys).linkPublicKey })),
      nowMs: () => this.nowMs,
      onKeys: () => {
        come += 1
        return Promise.resolve()
      },
      log: SILENT_LOG,
      ...more,
    })
    keys.load()
    this.shared.store.subscribe((change) => keys.learn(change))
    return { keys, keyring, come: () => come }
  }
}

const epochsOf = (keyring: Keyring): number[] =>
  [...keyring.all()].map(({ epoch }) => numberOfEpoch(epoch)).sort((a, b) => a - b)
const epochOf = (keys: CollectionKeyService): number => numberOfEpoch(keys.newest('secrets') ?? 0)

describe('keys of an encrypted collection', () => {
  test('are begun by an administrator, and come to its readers and to nobody else', async () => {
    const bench = new Bench()
    const [admin, reader, later] = [ADMIN, READER, LATER].map((id) => bench.service(id)) as [
      ReturnType<Bench['service']>,
      ReturnType<Bench['service']>,
      ReturnType<Bench['service']>,
    ]
    assert.equal(admin.keys.newest('secrets'), null)
    await admin.keys.step()
    await reader.keys.step()
    await later.keys.step()
    assert.deepEqual(
      [admin, reader, later].map(({ keyring }) => epochsOf(keyring)),
      [[1], [1], []],
    )
    assert.deepEqual([reader.come(), later.come(), bench.saved.includes(READER)], [1, 0, true])
    assert.deepEqual(
      [reader, later].map(({ keys }) => keys.isEncrypted('secrets')),
      [true, true],
      'undeclared, the mesh has made it',
    )
    assert.equal(later.keys.isEncrypted('climate'), false)
    const [key] = [...reader.keyring.all()]
    assert.deepEqual(key?.key, admin.keyring.keyOf('secrets', key?.epoch ?? 0))
    await admin.keys.step()
    assert.equal(epochOf(admin.keys), 1, 'no reason for another')
  })

  test('of all epochs come to a reader that comes later', async () => {
    const bench = new Bench()
    const admin = bench.service(ADMIN)
    await admin.keys.step()
    bench.nowMs = Date.now() + 91 * DAY
    await admin.keys.step()
    const later = bench.service(LATER)
    bench.readers.push(LATER)
    await admin.keys.step()
    await later.keys.step()
    assert.deepEqual(epochsOf(later.keyring), [1, 2])
  })

  test('are others once a reader is none any more: it keeps the old ones and gets no new one', async () => {
    const bench = new Bench()
    const [admin, reader] = [bench.service(ADMIN), bench.service(READER)]
    await admin.keys.step()
    await reader.keys.step()
    bench.readers = [ADMIN]
    await admin.keys.step()
    await reader.keys.step()
    assert.equal(epochOf(reader.keys), 2, 'it hears of it')
    assert.deepEqual([epochsOf(admin.keyring), epochsOf(reader.keyring)], [[1, 2], [1]])
    const feed = { key: 'f', id: new Uint8Array(16), descriptor: { collection: 'secrets' } } as never
    assert.equal(reader.keys.current(feed), null, 'and writes nothing that it could not read')
    assert.notEqual(admin.keys.current(feed), null)
  })

  test('are others every 90 days, by a clock that may be believed', async () => {
    const bench = new Bench()
    const admin = bench.service(ADMIN)
    await admin.keys.step()
    bench.nowMs = Date.now() + 89 * DAY
    await admin.keys.step()
    bench.nowMs = null
    await admin.keys.step()
    assert.equal(epochOf(admin.keys), 1)
    bench.nowMs = Date.now() + 91 * DAY
    await admin.keys.step()
    assert.equal(epochOf(admin.keys), 2)
  })

  test('count as begun when their boxes were written, whatever else stood in the documents before', async () => {
    const bench = new Bench()
    const { epoch, key } = newEpochKey(1)
    const name = `key/secrets/${epoch}/`
    for (const reader of bench.readers)
      await bench.shared.driver.write('$mesh', '', [{ kind: 'put', key: name + reader, fields: { 'a note': 1 } }])
    await new Promise((resolve) => setTimeout(resolve, 20))
    const begun = Date.now()
    for (const reader of bench.readers)
      await bench.shared.driver.write('$mesh', '', [
        { kind: 'put', key: name + reader, fields: { box: new Uint8Array(9) } },
      ])
    const admin = bench.service(ADMIN)
    admin.keyring.add({ collection: 'secrets', epoch, key })
    bench.nowMs = begun + 90 * DAY
    await admin.keys.step()
    assert.equal(epochOf(admin.keys), 1)
    bench.nowMs = Date.now() + 91 * DAY
    await admin.keys.step()
    assert.equal(epochOf(admin.keys), 2)
  })

  test('that two administrators begin at once are two: all take the same to write, and have both to read', async () => {
    const bench = new Bench()
    const [one, other] = [bench.service(ADMIN), bench.service(ADMIN)]
    await Promise.all([one.keys.step(), other.keys.step()])
    const reader = bench.service(READER)
    await reader.keys.step()
    await one.keys.step()
    assert.deepEqual(
      [epochsOf(reader.keyring), epochsOf(one.keyring)],
      [
        [1, 1],
        [1, 1],
      ],
    )
    assert.deepEqual(new Set([one, other, reader].map(({ keys }) => keys.newest('secrets'))).size, 1)
  })

  test('are taken from no box that is damaged, of another reader, or holds another key', async () => {
    const bench = new Bench()
    const admin = bench.service(ADMIN)
    await admin.keys.step()
    const epoch = admin.keys.newest('secrets') as number
    const space = { collection: '$mesh', partition: '' }
    const boxOf = (peerId: string): Uint8Array =>
      bench.shared.store.get(space, `key/secrets/${epoch}/${peerId}`)?.values[0] as Uint8Array
    const put = (key: string, box: Uint8Array): Promise<unknown> =>
      bench.shared.driver.write('$mesh', '', [{ kind: 'put', key, fields: { box } }])
    const damaged = Uint8Array.from(boxOf(READER))
    damaged[40] = (damaged[40] as number) ^ 1
    await put(`key/secrets/${epoch}/${READER}`, damaged)
    await put(`key/secrets/${epoch + 1}/${READER}`, boxOf(ADMIN))
    await put('key/secrets/none/x', boxOf(ADMIN))
    const reader = bench.service(READER)
    await reader.keys.step()
    await reader.keys.step()
    assert.deepEqual([epochsOf(reader.keyring), reader.come()], [[], 0])
  })

  test('are not shared by who is no administrator', async () => {
    const bench = new Bench()
    const reader = bench.service(READER, { declared: () => ['secrets'] })
    await reader.keys.step()
    assert.equal(reader.keys.newest('secrets'), null)
  })
})
