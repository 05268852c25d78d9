import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { DEFAULT_PROFILE, fillDefaults, type DeviceProfile } from '../../runtime/profile/defaults.ts'
import { PROFILE_SCHEMA } from '../../runtime/profile/generated/schema.ts'
import { checkProfile, parseProfile } from '../../runtime/profile/parse.ts'
import { describeReload } from '../../runtime/profile/reload.ts'
import { collectionOf, resolveProfile } from '../../runtime/profile/resolve.ts'
import { resolved, type Schema } from '../../runtime/profile/schema.ts'
import { notBuiltYet, warningsOf } from '../../runtime/profile/warnings.ts'

const ROOT = new URL('../../../', import.meta.url)
const PROFILES = new URL('device-profiles/', ROOT)

function shipped(name: string): DeviceProfile {
  const readFile = (path: string): string => readFileSync(new URL(path, PROFILES), 'utf8')
  const result = parseProfile(readFile(name), { path: name, readFile })
  assert.ok(result.ok, JSON.stringify(result))
  return result.value.profile
}

function everyKey(): DeviceProfile {
  const text = readFileSync(new URL('test/profile/fixtures/every-key.json', ROOT), 'utf8')
  const result = parseProfile(text, { path: 'every-key.json' })
  assert.ok(result.ok, JSON.stringify(result))
  return result.value.profile
}

test('every shipped profile is valid and has the name of its file', () => {
  const files = readdirSync(PROFILES).filter((name) => name.endsWith('.json'))
  assert.deepEqual(files, ['gateway.json', 'pi-zero.json', 'relay.json', 'sensor-hub.json', 'super-peer.json'])
  for (const file of files) assert.equal(shipped(file).id, file.replace('.json', ''))
})

test('shipped profiles ask for nothing that is not built', () => {
  for (const name of ['gateway', 'pi-zero', 'relay', 'sensor-hub', 'super-peer'])
    assert.deepEqual(notBuiltYet(shipped(`${name}.json`)), [])
})

test('the default profile is gateway.json', () => {
  const { $schema: _schema, ...gateway } = shipped('gateway.json')
  assert.deepEqual(DEFAULT_PROFILE, gateway)
})

test('the default profile takes Zigbee2MQTT and Tasmota devices, and any further state collection', () => {
  const profile = resolveProfile(DEFAULT_PROFILE)
  assert.deepEqual(profile.broker.listen, [{ protocol: 'mqtt', host: '::', port: 1883 }])
  assert.equal(profile.broker.anonymous, 'loopback')
  assert.deepEqual([...profile.collections.keys()], ['climate', 'plugs'])
  assert.equal(collectionOf(profile, 'anything')?.kind, 'state')
  const sources = profile.sources.map((source) => [source.kind === 'preset' && source.preset, source.collection])
  assert.deepEqual(sources, [
    ['zigbee2mqtt', 'climate'],
    ['tasmota', 'plugs'],
  ])
})

test('a profile that declares its collections takes no others', () => {
  const profile = resolveProfile({ collections: { climate: {} } })
  assert.equal(collectionOf(profile, 'climate')?.kind, 'state')
  assert.equal(collectionOf(profile, 'climat'), null)
  assert.equal(collectionOf(profile, 'constructor'), null)
})

test('the profile with every key resolves to numbers, addresses and filled defaults', () => {
  const profile = resolveProfile(everyKey())
  assert.equal(profile.storage.maxBytes, 2_147_483_648)
  assert.equal(profile.broker.sessions.expiryMs, 604_800_000)
  assert.deepEqual(profile.broker.users, { from: 'file', name: 'users.json' })
  assert.deepEqual(profile.mesh.bootstrap, [{ protocol: 'mqtts', host: '10.0.0.2', port: 8883 }])
  assert.deepEqual(profile.http.listen, { host: '127.0.0.1', port: 8484 })
  assert.equal(profile.collections.get('readings')?.partition, 'north')
  assert.deepEqual(profile.collections.get('readings')?.retain, { ageMs: 2_592_000_000, bytes: 524_288_000 })
  assert.deepEqual(profile.sync.budget, { bytesPerSecond: 1_048_576, bytesPerDay: 524_288_000 })
  assert.deepEqual(profile.bridge, [{ topic: 'site/alarms/#', direction: 'both', qos: 1, keepMs: 604_800_000 }])
  const ruuvi = profile.sources[2]
  assert.ok(ruuvi?.kind === 'topic')
  assert.deepEqual(ruuvi.time, { from: '$.ts', format: 'unix-s' })
  assert.deepEqual(
    [...(ruuvi.fields ?? [])],
    [
      ['temperature', { from: '$.temperature', map: null, scale: 1, offset: 0, round: null }],
      ['humidity', { from: '$.hum', map: null, scale: 0.01, offset: 0, round: 1 }],
    ],
  )
})

test('a profile with its defaults filled in is valid and means the same', () => {
  for (const profile of [{}, DEFAULT_PROFILE, everyKey()]) {
    const filled = fillDefaults(profile)
    const result = checkProfile(filled, { path: 'filled.json' })
    assert.ok(result.ok, JSON.stringify(result))
    assert.deepEqual(resolveProfile(result.value.profile), resolveProfile(profile))
    assert.deepEqual(fillDefaults(result.value.profile), filled)
  }
})

test('filling in defaults leaves the schema and the profile as they are', () => {
  const first = fillDefaults({})
  first.broker.listen.push('mqtt://changed')
  assert.deepEqual(fillDefaults({}).broker.listen, ['mqtt://[::]:1883'])
})

test('keys whose part is not built are named where they stand, those left at rest are not', () => {
  assert.deepEqual(notBuiltYet({ storage: { encryption: 'none' }, interest: ['*'] }), [])
  assert.deepEqual(notBuiltYet({ collections: { a: { kind: 'series', fields: { t: { unit: 'V', max: 5 } } } } }), [
    'collections.a.fields.t.max',
  ])
  assert.deepEqual(notBuiltYet({ collections: { a: { indexes: ['room', 'floor'] } }, bridge: [] }), [
    'collections.a.indexes[0]',
    'collections.a.indexes[1]',
  ])
})

test('a broker that lets everyone write is warned of', () => {
  assert.match(warningsOf({ broker: { anonymous: 'all' } }).join(), /^open-broker: /)
})

test('a reload plan tells live keys from those that need a restart, lists as a whole', () => {
  const before: DeviceProfile = { log: { level: 'info' }, broker: { listen: ['mqtt://[::]:1883'] }, labels: { a: '1' } }
  const after: DeviceProfile = {
    log: { level: 'warn' },
    broker: { listen: ['mqtt://[::]:1884'] },
    labels: { b: '1' },
    sources: [{ id: 'z', preset: 'zigbee2mqtt', collection: 'climate' }],
  }
  assert.deepEqual(describeReload(before, after), {
    live: ['labels.a', 'labels.b', 'sources', 'log.level'],
    restart: ['broker.listen'],
  })
})

test('writing a default out or ordering keys otherwise is no change', () => {
  const reversed = Object.fromEntries(Object.entries(fillDefaults(DEFAULT_PROFILE)).reverse()) as DeviceProfile
  assert.deepEqual(describeReload(DEFAULT_PROFILE, reversed), { live: [], restart: [] })
})

test('every key of the schema says what it is, and every size, duration and pattern can be explained', () => {
  const seen: string[] = []
  const visit = (schema: Schema, path: string): void => {
    if ('pattern' in schema) assert.equal(typeof schema['x-form'], 'string', `${path} has a pattern without words`)
    for (const [key, property] of Object.entries(schema.properties ?? {})) {
      const part = resolved(property)
      seen.push(`${path}/${key}`)
      assert.equal(typeof part['title'], 'string', `${path}/${key} has no title`)
      assert.equal(typeof part['description'], 'string', `${path}/${key} has no description`)
      if (part.properties) assert.equal(part.additionalProperties, false, `${path}/${key} takes unknown keys`)
      visit(part, `${path}/${key}`)
    }
    for (const inner of [schema.items, schema.additionalProperties, schema.propertyNames]) {
      if (typeof inner === 'object') visit(resolved(inner), `${path}/*`)
    }
  }
  visit(PROFILE_SCHEMA, '')
  assert.ok(seen.includes('/sources/*/fields/*/scale'))
})

test('the page about profiles says what the schema says', async () => {
  const script = (await import(new URL('scripts/profile-reference.mjs', ROOT).href)) as {
    withReference: (text: string, schema: Schema) => string
  }
  const page = readFileSync(new URL('README.md', PROFILES), 'utf8')
  assert.equal(page, script.withReference(page, PROFILE_SCHEMA), 'run: node scripts/generate-profile.mjs --readme')
})
