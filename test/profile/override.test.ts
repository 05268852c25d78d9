import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DeviceProfile } from '../../runtime/profile/defaults.ts'
import type { ProfileError } from '../../runtime/profile/error.ts'
import { checkProfile } from '../../runtime/profile/parse.ts'

const BASE: DeviceProfile = { broker: { listen: ['mqtt://127.0.0.1:1883'] } }

function after(...set: string[]): DeviceProfile {
  const result = checkProfile(BASE, { path: 'p.json', set })
  assert.ok(result.ok, JSON.stringify(result))
  return result.value.profile
}

function refusal(...set: string[]): ProfileError | undefined {
  const result = checkProfile(BASE, { path: 'p.json', set })
  return result.ok ? undefined : result.error[0]
}

test('a value is JSON, or else a text', () => {
  assert.deepEqual(after('storage.flushesPerSecond=5').storage, { flushesPerSecond: 5 })
  assert.deepEqual(after('log.level=warn').log, { level: 'warn' })
  assert.deepEqual(after('log={"level":"warn"}').log, { level: 'warn' })
  assert.deepEqual(after('node.name=a=b').node, { name: 'a=b' })
})

test('indexes and JSON pointers lead into lists, and the next index appends', () => {
  const added = ['mqtt://127.0.0.1:1883', 'mqtt://127.0.0.1:1884']
  assert.deepEqual(after('broker.listen[1]=mqtt://127.0.0.1:1884').broker, { listen: added })
  assert.deepEqual(after('/broker/listen/1=mqtt://127.0.0.1:1884').broker, { listen: added })
  assert.deepEqual(after('broker.listen[0]=mqtt://127.0.0.1:0').broker, { listen: ['mqtt://127.0.0.1:0'] })
})

test('later settings win over earlier ones', () => {
  assert.deepEqual(after('log.level=warn', 'log.level=error').log, { level: 'error' })
})

test('the profile that was given is not changed', () => {
  after('broker.listen[0]=mqtt://127.0.0.1:0')
  assert.deepEqual(BASE.broker, { listen: ['mqtt://127.0.0.1:1883'] })
})

for (const [setting, message] of [
  ['log.level', /it has no value/],
  ['=5', /it is not a path/],
  ['a..b=1', /it is not a path/],
  ['__proto__.x=1', /it is not a path/],
  ['broker.listen[7]=mqtt://a', /no array has such an item/],
  ['broker.listen.first=mqtt://a', /no array has such an item/],
  ['broker.listen=["mqtt://a', /^Cannot read/],
  ['broker.listn=[]', /nearest known key is "listen"/],
  ['log.level=loud', /none of the known values/],
] as const) {
  test(`refused: --set ${setting}`, () => {
    const error = refusal(setting)
    assert.match(error?.message ?? '', message)
    assert.equal(error?.file, `--set ${setting.split('=')[0]}`)
  })
}
