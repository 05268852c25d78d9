import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatAddress, isConflict, parseAddress, parseHostPort, type Address } from '../../runtime/profile/address.ts'
import { formatDuration, formatSize, parseDuration, parseSize, parseTime } from '../../runtime/profile/units.ts'

const amount = fc.oneof(
  fc.nat({ max: 10_000 }),
  fc.maxSafeNat().filter((n) => n < 1e15),
)

test('durations are milliseconds', () => {
  const table = { '0ms': 0, '250ms': 250, '5s': 5_000, '15m': 900_000, '1h': 3_600_000, '30d': 2_592_000_000 }
  for (const [text, ms] of Object.entries(table)) assert.deepEqual(parseDuration(text), { ok: true, value: ms })
})

test('sizes are bytes', () => {
  const table = { '0B': 0, '72KiB': 73_728, '256MiB': 268_435_456, '2GiB': 2_147_483_648, '1TiB': 1_099_511_627_776 }
  for (const [text, bytes] of Object.entries(table)) assert.deepEqual(parseSize(text), { ok: true, value: bytes })
})

test('what is formatted is read back exactly', () => {
  fc.assert(
    fc.property(amount, (n) => {
      assert.deepEqual(parseDuration(formatDuration(n)), { ok: true, value: n })
      assert.deepEqual(parseSize(formatSize(n)), { ok: true, value: n })
    }),
  )
})

test('the greatest unit that fits exactly is used', () => {
  assert.deepEqual([0, 90_000, 86_400_000].map(formatDuration), ['0ms', '90s', '1d'])
  assert.deepEqual([0, 1_536, 1_048_576].map(formatSize), ['0B', '1536B', '1MiB'])
})

test('what is not a duration or a size is refused with a sentence', () => {
  for (const text of ['', '5', 'd', '-5d', '1.5h', '5 s', '5D', '5toString', '999999999999999d']) {
    const result = parseDuration(text)
    assert.ok(!result.ok, text)
    assert.match(result.error.message, /^Cannot use ".*" as a duration: it must be /)
  }
  for (const text of ['', '5', '5MB', '5mib', '0x5B', '999999999999999TiB']) assert.ok(!parseSize(text).ok, text)
})

test('addresses are taken apart and put together again', () => {
  const table: [string, Address][] = [
    ['mqtt://[::]:1883', { protocol: 'mqtt', host: '::', port: 1883 }],
    ['mqtts://relay.example:8884', { protocol: 'mqtts', host: 'relay.example', port: 8884 }],
    ['mqtt://10.0.0.2:0', { protocol: 'mqtt', host: '10.0.0.2', port: 0 }],
    ['mqtt://[fe80::1%eth0.10]:1883', { protocol: 'mqtt', host: 'fe80::1%eth0.10', port: 1883 }],
  ]
  for (const [text, address] of table) {
    assert.deepEqual(parseAddress(text), { ok: true, value: address })
    assert.equal(formatAddress(address), text)
  }
})

test('an address without a port has that of its protocol', () => {
  assert.deepEqual(parseAddress('mqtts://a'), { ok: true, value: { protocol: 'mqtts', host: 'a', port: 8883 } })
  assert.deepEqual(parseAddress('mqtt://[::1]'), { ok: true, value: { protocol: 'mqtt', host: '::1', port: 1883 } })
})

test('what is not an address is refused', () => {
  for (const text of [
    '',
    'a:1',
    'http://a:1',
    'mqtt://',
    'mqtt://a:65536',
    'mqtt://u:p@a:1',
    'mqtt://a:1/x',
    'mqtt://::1:1',
    'mqtt://[fe80::1%]:1',
    'mqtt://[fe80::1%a/b]:1',
  ]) {
    assert.ok(!parseAddress(text).ok, text)
  }
  for (const text of ['', 'a', 'a:', '[::1]', 'a:65536', 'a:1/x']) assert.ok(!parseHostPort(text).ok, text)
})

test('two listeners conflict on one port of one interface or of all, and never on a free port', () => {
  const at = (host: string, port = 1883): { host: string; port: number } => ({ host, port })
  assert.ok(isConflict(at('a'), at('a')))
  assert.ok(isConflict(at('::'), at('127.0.0.1')))
  assert.ok(isConflict(at('127.0.0.1'), at('0.0.0.0')))
  assert.ok(!isConflict(at('a'), at('b')))
  assert.ok(!isConflict(at('a'), at('a', 1884)))
  assert.ok(!isConflict(at('::', 0), at('::', 0)))
})

test('a time is a whole date, and no text that merely has a digit in it', () => {
  const times = {
    '2026-12': Date.UTC(2026, 11, 1),
    '2026-12-24': Date.UTC(2026, 11, 24),
    '2026-12-24T17:00Z': Date.UTC(2026, 11, 24, 17),
    '2026-12-24T17:00:30.500+01:00': Date.UTC(2026, 11, 24, 16, 0, 30, 500),
    '2026-12-24T17:00': new Date(2026, 11, 24, 17).getTime(),
    '2026-12-24 17:00': new Date(2026, 11, 24, 17).getTime(),
  }
  for (const [text, value] of Object.entries(times)) assert.deepEqual(parseTime(text), { ok: true, value }, text)
  for (const text of [
    '',
    '3',
    '32',
    '-1',
    'foo 1',
    'yesterday 3',
    '2026-13-01',
    '2026-02-30',
    '2026-02-30T10:00+01:00',
    '2026-12-24T25:00Z',
    ' 2026-12-24',
  ])
    assert.equal(parseTime(text).ok, false, text)
})
