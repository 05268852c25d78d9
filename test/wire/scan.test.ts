import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromHex, hex } from '../../runtime/base/bytes.ts'
import { decodeValue, encodeValue } from '../../runtime/wire/cbor.ts'
import { scan } from '../../runtime/wire/scan.ts'
import { readVectors } from '../vectors/read.ts'

const LIMITS = { depthMax: 8, itemsMax: 1_000, isSequence: false }

function bytes(text: string): Uint8Array {
  return fromHex(text) as Uint8Array
}

test('of RFC 8949’s examples those pass that a body or message may hold, and no others', () => {
  const vectors = readVectors('rfc8949-appendix-a.json') as { hex: string; diagnostic?: string; decoded?: unknown }[]
  const refused = vectors.filter(({ hex }) => !scan(bytes(hex), LIMITS).ok).map(({ hex }) => hex)
  for (const { hex } of vectors) {
    const first = Number.parseInt(hex.slice(0, 2), 16)
    const isTagged = first >> 5 === 6
    const isIndefinite =
      /^(5f|7f|9f|bf)/.test(hex) || ['83018202039f0405ff', '83019f0203ff820405', '826161bf61626163ff'].includes(hex)
    const isBignum =
      ['1bffffffffffffffff', '3bffffffffffffffff', '1b000000e8d4a51000'].includes(hex) && hex !== '1b000000e8d4a51000'
    const isOtherSimple = ['f7', 'f0', 'f818', 'f8ff'].includes(hex)
    const isNotFinite =
      /^(f97c00|f97e00|f9fc00|fa7f800000|fa7fc00000|faff800000|fb7ff0000000000000|fb7ff8000000000000|fbfff0000000000000)$/.test(
        hex,
      )
    const hasOtherKeys = hex === 'a201020304'
    const isExpected = isTagged || isIndefinite || isBignum || isOtherSimple || isNotFinite || hasOtherKeys
    assert.equal(refused.includes(hex), isExpected, hex)
  }
})

test('hostile heads, lengths, keys, texts and depths are refused', () => {
  const refused = {
    'a cut head': '19ff',
    'a length beyond the bytes': '5affffffff00',
    'an array of four billion': '9affffffff',
    'a map of four billion': 'baffffffff',
    'bytes after the end': '0101',
    'nothing at all': '',
    'a key twice': 'a2616101616102',
    'a key of bytes': 'a1416101',
    'a prototype': 'a1695f5f70726f746f5f5f01',
    'an overlong text': '62c080',
    'half a surrogate': '63eda080',
    undefined: 'f7',
    'a break': 'ff',
    'a reserved head': '1c',
    'nine levels': '81'.repeat(9) + '00',
    'a map without its value': 'a16161',
    '2^53': '1b0020000000000000',
  }
  for (const [what, hex] of Object.entries(refused)) assert.equal(scan(bytes(hex), LIMITS).ok, false, what)
  assert.equal(scan(bytes('81'.repeat(8) + '00'), LIMITS).ok, true)
  assert.equal(scan(bytes('1b001fffffffffffff'), LIMITS).ok, true)
  assert.equal(scan(bytes('0101'), { ...LIMITS, isSequence: true }).ok, true)
  assert.equal(scan(new Uint8Array(1_001), { ...LIMITS, isSequence: true }).ok, false, 'too many items')
})

test('a JSON value encodes, passes and comes back so that encoding it again gives the same bytes', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6, stringUnit: 'grapheme' }), (value) => {
      fc.pre(!JSON.stringify(value).includes('__proto__'))
      const encoded = encodeValue(value)
      const read = decodeValue(encoded)
      assert.ok(read.ok, read.ok ? '' : read.error.message)
      assert.equal(hex(encodeValue(read.value)), hex(encoded))
    }),
  )
})

test('no bytes make a decoder throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (input) => {
      decodeValue(input)
    }),
    { numRuns: 5_000 },
  )
})
