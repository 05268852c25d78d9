import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { editDistance, nearestTo } from '../../runtime/profile/nearest.ts'
import { checkProfile } from '../../runtime/profile/parse.ts'
import { filterOf, isOverlap, patternFault } from '../../runtime/profile/topics.ts'

function pointersOf(profile: object): string[] {
  const result = checkProfile(profile, { path: 'p.json' })
  return result.ok ? [] : result.error.map(({ pointer }) => pointer)
}

const zigbee = { id: 'zigbee', preset: 'zigbee2mqtt', collection: 'climate' }
const ruuvi = { id: 'ruuvi', topic: 'ruuvi/{mac}/data', collection: 'climate', key: '{mac}' }
const series = { kind: 'series', partition: '{cell}' }

for (const [name, profile, pointer] of [
  ['two listeners on one port', { broker: { listen: ['mqtt://[::]:1883', 'mqtt://127.0.0.1'] } }, '/broker/listen/1'],
  ['the broker on the port of HTTP', { http: { listen: '127.0.0.1:1883' } }, '/http/listen'],
  ['a port above 65535', { broker: { listen: ['mqtt://a:70000'] } }, '/broker/listen/0'],
  ['dialling port 0', { mesh: { bootstrap: ['mqtt://a:0'] } }, '/mesh/bootstrap/0'],
  ['fewer links at most than at least', { mesh: { links: { min: 3, max: 2 } } }, '/mesh/links/min'],
  ['more links than a gateway may have that is no super-peer', { mesh: { links: { max: 33 } } }, '/mesh/links/max'],
  ['a partition by cell without a cell', { collections: { a: series } }, '/collections/a/partition'],
  [
    'a partition by something else',
    { collections: { a: { partition: '{site}' } }, node: { cell: 'n' } },
    '/collections/a/partition',
  ],
  ['retention of a state collection', { collections: { a: { retain: { age: '1d' } } } }, '/collections/a/retain'],
  [
    'encrypted messages of bridge rules',
    { collections: { mqtt: { encrypted: true } }, bridge: [{ topic: 'site/#', direction: 'in' }] },
    '/collections/mqtt/encrypted',
  ],
  ['readers of a plain collection', { collections: { a: { readers: ['ops'] } } }, '/collections/a/readers'],
  ['encryption without a key', { storage: { encryption: 'values' } }, '/storage/encryption'],
  [
    'a field with its range reversed',
    { collections: { a: { fields: { t: { min: 2, max: 1 } } } } },
    '/collections/a/fields/t/min',
  ],
  ['a source of no declared collection', { collections: { other: {} }, sources: [zigbee] }, '/sources/0/collection'],
  ['a source of a collection that is not kept', { interest: ['other'], sources: [zigbee] }, '/sources/0/collection'],
  [
    'a source of a partition that is not kept',
    { interest: ['climate/south'], node: { cell: 'north' }, collections: { climate: series }, sources: [zigbee] },
    '/sources/0/collection',
  ],
  ['two sources of one id', { sources: [zigbee, { ...ruuvi, id: 'zigbee' }] }, '/sources/1/id'],
  ['a preset with a topic', { sources: [{ ...zigbee, topic: 'a/{b}' }] }, '/sources/0/topic'],
  ['neither preset nor topic', { sources: [{ id: 'a', collection: 'c' }] }, '/sources/0'],
  ['a topic without a key', { sources: [{ id: 'a', collection: 'c', topic: 'a/{b}' }] }, '/sources/0'],
  ['a topic with a base', { sources: [{ ...ruuvi, base: 'x' }] }, '/sources/0/base'],
  ['a key with a name that the topic lacks', { sources: [{ ...ruuvi, key: '{mac}-{id}' }] }, '/sources/0/key'],
  ['a key with an open brace', { sources: [{ ...ruuvi, key: '{mac' }] }, '/sources/0/key'],
  ['a topic pattern with a wildcard', { sources: [{ ...ruuvi, topic: 'a/+/{mac}' }] }, '/sources/0/topic'],
  ['a topic of the runtime', { sources: [{ ...ruuvi, topic: 'marram/data/{mac}' }] }, '/sources/0/topic'],
  ['a bridge over everything', { bridge: [{ topic: '#', direction: 'in' }] }, '/bridge/0/topic'],
  ['a bridge over marram/', { bridge: [{ topic: '+/state', direction: 'in' }] }, '/bridge/0/topic'],
  ['a bridge over $', { bridge: [{ topic: '$SYS/broker/load', direction: 'in' }] }, '/bridge/0/topic'],
  [
    'a bridge over a preset',
    { sources: [zigbee], bridge: [{ topic: 'zigbee2mqtt/hall', direction: 'in' }] },
    '/bridge/0/topic',
  ],
  [
    'a bridge over a preset elsewhere',
    { sources: [{ ...zigbee, base: 'up/z2m' }], bridge: [{ topic: 'up/#', direction: 'in' }] },
    '/bridge/0/topic',
  ],
  [
    'a bridge over a source',
    { sources: [ruuvi], bridge: [{ topic: 'ruuvi/+/data', direction: 'in' }] },
    '/bridge/0/topic',
  ],
  ['a bridge filter with # within', { bridge: [{ topic: 'a/#/b', direction: 'in' }] }, '/bridge/0/topic'],
  ['a bridge filter with a wildcard in a level', { bridge: [{ topic: 'a/b+', direction: 'in' }] }, '/bridge/0/topic'],
] as const) {
  test(`refused: ${name}`, () => {
    assert.deepEqual(pointersOf(profile), [pointer])
  })
}

for (const [name, profile] of [
  ['a source of a declared collection', { collections: { climate: {} }, sources: [zigbee, ruuvi] }],
  ['a source of any collection where * is declared', { collections: { '*': {} }, sources: [zigbee] }],
  [
    'a source of a partition that is kept',
    { interest: ['climate/nor'], node: { cell: 'north' }, collections: { climate: series }, sources: [zigbee] },
  ],
  [
    'a collection named like a member of every object',
    { collections: { constructor: {} }, sources: [{ ...zigbee, collection: 'constructor' }] },
  ],
  [
    'a bridge beside the sources',
    { sources: [zigbee, ruuvi], bridge: [{ topic: 'site/alarms/#', direction: 'both' }] },
  ],
  ['two listeners on free ports', { broker: { listen: ['mqtt://127.0.0.1:0', 'mqtt://[::1]:0'] } }],
] as const) {
  test(`accepted: ${name}`, () => {
    assert.deepEqual(pointersOf(profile), [])
  })
}

/** MQTT 3.1.1 4.7, word for word. */
function isMatch(filter: string, topic: string): boolean {
  const [levels, parts] = [filter.split('/'), topic.split('/')]
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false
  for (const [i, level] of levels.entries()) {
    if (level === '#') return true
    if (parts[i] === undefined || (level !== '+' && level !== parts[i])) return false
  }
  return levels.length === parts.length || (levels.at(-1) === '#' && levels.length === parts.length + 1)
}

test('two filters overlap exactly when some topic matches both', () => {
  const level = fc.constantFrom('a', 'b', '+', '$s')
  const filter = fc
    .tuple(fc.array(level, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([levels, hasTail]) => [...levels, ...(hasTail ? ['#'] : [])].join('/'))
  const words = ['a', 'b', '$s', 'z']
  const topics = words.flatMap((x) => [
    x,
    ...words.flatMap((y) => [
      `${x}/${y}`,
      ...words.flatMap((z) => [`${x}/${y}/${z}`, ...words.map((w) => `${x}/${y}/${z}/${w}`)]),
    ]),
  ])
  fc.assert(
    fc.property(filter, filter, (a, b) => {
      assert.equal(
        isOverlap(a, b),
        topics.some((topic) => isMatch(a, topic) && isMatch(b, topic)),
        `${a} ${b}`,
      )
    }),
    { numRuns: 2000 },
  )
})

test('patterns name their levels, a tail only at the end', () => {
  for (const good of ['ruuvi/{mac}/data', 'a/{rest...}', '{a}/{b}', 'plain'])
    assert.equal(patternFault(good), null, good)
  for (const bad of [
    'a/{rest...}/b',
    'a/{}',
    'a/x{b}',
    'a/{a}/{a}',
    'a/#',
    'a/+',
    '$SYS/{a}',
    'marram/{a}',
    'a/{b c}',
  ]) {
    assert.notEqual(patternFault(bad), null, bad)
  }
  assert.equal(filterOf('a/{b}/c/{rest...}'), 'a/+/c/#')
})

test('the nearest word is the one with the fewest edits, and far ones are none', () => {
  assert.equal(nearestTo('lisen', ['users', 'listen', 'anonymous']), 'listen')
  assert.equal(nearestTo('MaxBytes', ['maxBytes', 'reserveFree']), 'maxBytes')
  assert.equal(nearestTo('colour', ['listen', 'users']), null)
  assert.equal(nearestTo('x'.repeat(100_000), ['listen']), null)
})

test('edit distance is a metric that counts a swap once', () => {
  assert.deepEqual(
    [editDistance('wran', 'warn'), editDistance('', 'abc'), editDistance('kitten', 'sitting')],
    [1, 3, 3],
  )
  const word = fc.string({ maxLength: 8 })
  fc.assert(
    fc.property(word, word, (a, b) => {
      assert.equal(editDistance(a, b), editDistance(b, a))
      assert.equal(editDistance(a, b) === 0, a === b)
    }),
  )
})
