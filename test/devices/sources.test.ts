import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../runtime/base/bytes.ts'
import { changedFields } from '../../runtime/devices/changed.ts'
import { decodeKey, encodeKey } from '../../runtime/devices/keys.ts'
import { compilePath } from '../../runtime/devices/path.ts'
import { compileSources, type Mapped } from '../../runtime/devices/sources.ts'
import { checkProfile } from '../../runtime/profile/parse.ts'
import { resolveProfile } from '../../runtime/profile/resolve.ts'

function sourcesOf(...sources: readonly object[]): (topic: string, message: unknown) => readonly Mapped[] {
  const parsed = checkProfile({ schemaVersion: 1, id: 'test', sources }, { path: 'test' })
  if (!parsed.ok) throw new Error(parsed.error.map(({ message }) => message).join('; '))
  const compiled = compileSources(resolveProfile(parsed.value.profile).sources)
  return (topic, message) => compiled.map(topic, utf8(typeof message === 'string' ? message : JSON.stringify(message)))
}

/** `key {fields}` or `key: refusal`, for what one message makes. */
function shown(mapped: readonly Mapped[]): string[] {
  return mapped.map((one) =>
    'fields' in one ? `${one.key} ${JSON.stringify(one.fields)}` : `${one.key}: ${one.refusal}`,
  )
}

test('Zigbee2MQTT messages are documents under the device’s name, slashes and spaces kept', () => {
  const map = sourcesOf({ id: 'zigbee', preset: 'zigbee2mqtt', collection: 'climate' })
  assert.deepEqual(
    shown(map('zigbee2mqtt/kitchen/climate sensor', { temperature: 21.5, update: { state: 'idle' }, occupancy: null })),
    ['kitchen/climate sensor {"temperature":21.5,"update":{"state":"idle"},"occupancy":null}'],
  )
  assert.deepEqual(shown(map('zigbee2mqtt/lamp/availability', 'online')), ['lamp {"available":true}'])
  assert.deepEqual(shown(map('zigbee2mqtt/hall/lamp/availability', { state: 'offline' })), [
    'hall/lamp {"available":false}',
  ])
})

test('Zigbee2MQTT’s bridge, commands and their attributes are no documents, and a text is refused with a reason', () => {
  const map = sourcesOf({ id: 'zigbee', preset: 'zigbee2mqtt', collection: 'climate' })
  for (const topic of [
    'bridge/state',
    'bridge/devices',
    'lamp/set',
    'lamp/get',
    'lamp/set/state',
    'hall/lamp/get/color',
  ]) {
    assert.deepEqual(map(`zigbee2mqtt/${topic}`, { state: 'ON' }), [], topic)
  }
  assert.deepEqual(shown(map('zigbee2mqtt/lamp', 'not json')), ['lamp: it is not a JSON object'])
  assert.deepEqual(shown(map('zigbee2mqtt/lamp/availability', 'perhaps')), [
    'lamp: it says neither "online" nor "offline"',
  ])
  assert.deepEqual(map('elsewhere/lamp', {}), [])
})

test('Tasmota’s telemetry becomes dotted fields, its switch and last will fields of their own', () => {
  const map = sourcesOf({ id: 'plugs', preset: 'tasmota', collection: 'plugs' })
  const sensor = { Time: '2026-11-23T17:21:54', ENERGY: { Power: 12, Voltage: 230 }, AM2301: { Temperature: 21.4 } }
  assert.deepEqual(shown(map('tele/plug-1/SENSOR', sensor)), [
    'plug-1 {"Time":"2026-11-23T17:21:54","ENERGY.Power":12,"ENERGY.Voltage":230,"AM2301.Temperature":21.4}',
  ])
  assert.deepEqual(shown(map('stat/plug-1/POWER', 'ON')), ['plug-1 {"POWER":"ON"}'])
  assert.deepEqual(shown(map('tele/plug-1/LWT', 'Offline')), ['plug-1 {"available":false}'])
  for (const topic of ['tele/plug-1/INFO1', 'stat/plug-1/RESULT', 'cmnd/plug-1/POWER'])
    assert.deepEqual(map(topic, {}), [], topic)
})

test('Tasmota’s telemetry that is nested without end is refused with a reason', () => {
  const map = sourcesOf({ id: 'plugs', preset: 'tasmota', collection: 'plugs' })
  const nested = (depth: number): string => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`
  assert.deepEqual(shown(map('tele/plug-1/SENSOR', nested(3))), ['plug-1 {"a.a.a":1}'])
  assert.deepEqual(shown(map('tele/plug-1/SENSOR', nested(5_000))), ['plug-1: it is nested deeper than 16'])
})

test('a source of its own picks, maps, scales, offsets and rounds in that order, and takes the time of the message', () => {
  const map = sourcesOf({
    id: 'ruuvi',
    topic: 'ruuvi/{mac}/data',
    collection: 'climate',
    key: 'tag-{mac}',
    fields: {
      temperature: '$.temperature',
      humidity: { from: '$.hum', scale: 0.01, offset: 1, round: 1 },
      door: { from: '$.state', map: { '1': 'open', '0': 'closed' } },
      second: '$.list[1].v',
    },
    time: { from: '$.ts', format: 'unix-s' },
  })
  assert.deepEqual(
    shown(
      map('ruuvi/aa/data', { temperature: 4, hum: 4_567, state: 1, list: [{ v: 1 }, { v: 2 }], ts: 1_700_000_000 }),
    ),
    ['tag-aa {"temperature":4,"humidity":46.7,"door":"open","second":2,"time":"2023-11-14T22:13:20.000Z"}'],
  )
  assert.deepEqual(shown(map('ruuvi/aa/data', { other: 1, ts: 1 })), [
    'tag-aa: it has none of the fields that the source maps',
  ])
  assert.deepEqual(map('ruuvi/aa/data/more', {}), [])
})

test('one message can make documents of several sources', () => {
  const map = sourcesOf(
    { id: 'one', topic: 's/{a}', collection: 'one', key: '{a}' },
    { id: 'two', topic: '{site}/{rest...}', collection: 'two', key: '{site}:{rest}' },
  )
  assert.deepEqual(shown(map('s/x', { v: 1 })), ['x {"v":1}', 's:x {"v":1}'])
  assert.deepEqual(shown(map('t/x/y', { v: 1 })), ['t:x/y {"v":1}'])
})

test('a path finds own members alone: nothing of a prototype, nothing behind a missing step', () => {
  const message = { 'a b': [10, { c: null }], n: 1 }
  assert.equal(compilePath("$['a b'][0]")(message), 10)
  assert.equal(compilePath("$['a b'][-1].c")(message), null)
  for (const path of ['$.constructor', '$.toString', '$.n.x', "$['a b'][7]", '$.missing.x'])
    assert.equal(compilePath(path)(message), undefined, path)
})

test('only what changed beyond its dead-band is written', () => {
  const stored = { temperature: 21, room: 'kitchen', color: { x: 1 } }
  const deadband = (field: string): number | undefined => (field === 'temperature' ? 0.5 : undefined)
  assert.deepEqual(
    changedFields({ temperature: 21.4, room: 'kitchen', color: { x: 1 }, gone: null }, stored, deadband),
    {},
  )
  assert.deepEqual(changedFields({ temperature: 21.6, room: null, color: { x: 2 } }, stored, deadband), {
    temperature: 21.6,
    room: null,
    color: { x: 2 },
  })
})

test('keys survive the way through a topic', () => {
  for (const key of ['kitchen', 'a/b', 'a+b#c%d', 'ß 漢', '100%']) {
    const level = encodeKey(key)
    assert.doesNotMatch(level, /[/+#]/)
    assert.equal(decodeKey(level), key)
  }
  assert.equal(decodeKey('%E0%A4%A'), null)
})
