import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { utf8 } from '../../runtime/base/bytes.ts'
import { parseUsers } from '../../runtime/broker/users.ts'
import { linesOfCsv } from '../../runtime/cli/csv.ts'
import { decodeKey } from '../../runtime/devices/keys.ts'
import { compileSources } from '../../runtime/devices/sources.ts'
import { readLines } from '../../runtime/http/lines.ts'
import { MarramError } from '../../runtime/base/errors.ts'
import { isPeerId } from '../../runtime/model/names.ts'
import { parseOrder, parseWhere } from '../../runtime/model/query.ts'
import type { Fields } from '../../runtime/model/value.ts'
import { parseAddress } from '../../runtime/profile/address.ts'
import { DEFAULT_PROFILE } from '../../runtime/profile/defaults.ts'
import { parseProfile } from '../../runtime/profile/parse.ts'
import { resolveProfile } from '../../runtime/profile/resolve.ts'
import { parseDuration, parseSize } from '../../runtime/profile/units.ts'
import { textOf, type Target } from './target.ts'

const FIXTURE = join(import.meta.dirname, '../../../test/profile/fixtures/every-key.json')

const DOCUMENT: Fields = {
  temperature: 21.5,
  room: 'kitchen',
  on: true,
  nested: { a: [1, { b: null }] },
  bytes: new Uint8Array(3),
}

const QUERIES: readonly string[] = [
  'temperature > 21 and room = "kitchen"',
  'not (on = true or nested.a exists) and "a field" != null',
  "room in ('a', \"b\\u00b0\", 3, null) or room startswith 'k'",
  '((((a = 1))))',
]

const PROFILES: readonly string[] = [JSON.stringify(DEFAULT_PROFILE), readFileSync(FIXTURE, 'utf8')]

const SOURCES = compileSources(
  resolveProfile({
    ...DEFAULT_PROFILE,
    sources: [
      ...(DEFAULT_PROFILE.sources ?? []),
      {
        id: 'mapped',
        topic: 'site/{room}/{rest...}',
        collection: 'climate',
        key: '{room}-{rest}',
        fields: { temperature: { from: '$.t[0].v', scale: 0.1, round: 1 }, last: { from: "$['a b'][-1]" } },
        time: { from: '$.at', format: 'iso8601' },
      },
    ],
  }).sources,
)

const CSV: readonly string[] = [
  'key,temperature,room\na,21.5,"the ""big"" hall"\nb,,"two\nlines"\r\n',
  'room,key\n"{""x"":1}",k\n',
]

const USERS = JSON.stringify({
  users: {
    sensor: {
      password: 'scrypt$16384$8$1$c2FsdA==$aGFzaA==',
      topics: ['site/+/#'],
      publish: ['a'],
      subscribe: ['b/#'],
    },
  },
})

/** Topic and payload with a line end between them. */
const MESSAGES: readonly string[] = [
  'zigbee2mqtt/kitchen\n{"temperature":21.5,"humidity":40,"linkquality":200}',
  'tele/plug/SENSOR\n{"Time":"2026-01-01T00:00:00","ENERGY":{"Power":7}}',
  'stat/plug/POWER\nON',
  'site/hall/a/b\n{"t":[{"v":215}],"a b":[1,2],"at":"2026-01-01T00:00:00Z"}',
]

/** What owners, devices and command lines give in. */
export const TEXT_TARGETS: readonly Target[] = [
  { name: 'filter', form: 'text', samples: QUERIES.map(utf8), run: (input) => isFilter(textOf(input)) },
  {
    name: 'order',
    form: 'text',
    samples: ['-temperature', 'a.b', 'é'].map(utf8),
    run: (input) => isOrder(textOf(input)),
  },
  {
    name: 'profile',
    form: 'text',
    samples: PROFILES.map(utf8),
    run: (input) => {
      const parsed = parseProfile(textOf(input), { path: 'profile.json' })
      if (parsed.ok) resolveProfile(parsed.value.profile)
      return parsed.ok
    },
  },
  {
    name: 'profile, one setting',
    form: 'text',
    samples: ['broker.maxPacket=1MiB', 'sources[0].collection="plugs"', 'mesh.links.max=9', 'collections.*=null'].map(
      utf8,
    ),
    run: (input) => {
      const parsed = parseProfile(PROFILES[0] as string, { path: 'profile.json', set: [textOf(input)] })
      if (parsed.ok) resolveProfile(parsed.value.profile)
      return parsed.ok
    },
  },
  {
    name: 'duration and size',
    form: 'text',
    samples: ['250ms', '10 min', '1.5h', '64MiB', '100kB'].map(utf8),
    run: (input) => [parseDuration(textOf(input)), parseSize(textOf(input))].some(({ ok }) => ok),
  },
  { name: 'users file', form: 'text', samples: [utf8(USERS)], run: (input) => parseUsers(textOf(input)).ok },
  { name: 'csv', form: 'text', samples: CSV.map(utf8), run: isCsv },
  { name: 'lines', form: 'text', samples: ['{"key":"a"}\n{"key":"b"}\r\n\n'].map(utf8), run: isLines },
  { name: 'device message', form: 'text', samples: MESSAGES.map(utf8), run: (input) => isMapped(input) },
  {
    name: 'document topic',
    form: 'text',
    samples: ['a%2Fb', 'kitchen', '%c3%a9'].map(utf8),
    run: (input) => decodeKey(textOf(input)) !== null,
  },
  {
    name: 'address',
    form: 'text',
    samples: ['mqtt://10.0.0.2:1883', 'mqtt://[fe80::1]:1883', 'mqtts://broker.example'].map(utf8),
    run: (input) => parseAddress(textOf(input)).ok,
  },
  { name: 'peer id', form: 'text', samples: [utf8('a'.repeat(23))], run: (input) => isPeerId(textOf(input)) },
]

function isFilter(text: string): boolean {
  const filter = parseWhere(text)
  if (filter.ok) filter.value(DOCUMENT)
  return filter.ok
}

function isOrder(text: string): boolean {
  const order = parseOrder(text)
  if (order.ok) order.value(DOCUMENT, { temperature: 'warm' })
  return order.ok
}

function isMapped(input: Uint8Array): boolean {
  const end = input.indexOf(10)
  const mapped = SOURCES.map(textOf(input.subarray(0, end)), input.subarray(end + 1))
  return mapped.some((one) => !('refusal' in one))
}

async function isCsv(input: Uint8Array): Promise<boolean> {
  let refused = 0
  try {
    for await (const line of linesOfCsv(inTwo(input), () => (refused += 1))) if (line !== '') JSON.parse(line)
    return refused === 0
  } catch (error) {
    if (error instanceof MarramError && error.code === 'bad-request') return false
    throw error
  }
}

async function isLines(input: Uint8Array): Promise<boolean> {
  let bytes = 0
  for await (const line of readLines(inTwo(input), 4_096)) bytes += line.length
  return bytes > 0
}

/** What a stream is read by between two turns of the event loop, in bytes. */
const PIECE_BYTES = 8_192

/** As a file is read: in pieces that end anywhere. */
async function* inTwo(input: Uint8Array): AsyncGenerator<Uint8Array> {
  const piece = input.subarray(0, PIECE_BYTES)
  yield piece.subarray(0, piece.length >> 1)
  yield piece.subarray(piece.length >> 1)
}
