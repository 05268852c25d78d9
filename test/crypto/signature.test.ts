import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as ed from '@noble/ed25519'
import { fromHex, utf8 } from '../../runtime/base/bytes.ts'
import { generateDeviceKeys } from '../../runtime/crypto/identity.ts'
import { createSigner, createVerifier, isAdmissibleKey, verifyPortable } from '../../runtime/crypto/signature.ts'
import { readVectors } from '../vectors/read.ts'

/** SPEC I13. Wycheproof's layout, as far as it is used. */
interface Wycheproof {
  readonly testGroups: readonly {
    readonly publicKey: { readonly pk: string }
    readonly tests: readonly {
      readonly tcId: number
      readonly msg: string
      readonly sig: string
      readonly result: string
    }[]
  }[]
}

function bytes(text: string): Uint8Array {
  return fromHex(text) as Uint8Array
}

const verifier = createVerifier()

test('the predicate accepts exactly the valid signatures of Wycheproof, with both libraries', () => {
  const { testGroups } = readVectors('wycheproof-ed25519.json') as Wycheproof
  let count = 0
  for (const { publicKey, tests } of testGroups) {
    for (const { tcId, msg, sig, result } of tests) {
      const args = [bytes(publicKey.pk), bytes(msg), bytes(sig)] as const
      assert.equal(verifier.verify(...args), result === 'valid', `node, ${tcId}`)
      assert.equal(verifyPortable(...args), result === 'valid', `noble, ${tcId}`)
      count += 1
    }
  }
  assert.ok(count > 100)
})

test('signatures on which verifiers differ get one verdict from both', () => {
  const cases = readVectors('ed25519-speccheck.json') as { message: string; pub_key: string; signature: string }[]
  const verdicts = cases.map(({ message, pub_key, signature }) => {
    const args = [bytes(pub_key), bytes(message), bytes(signature)] as const
    assert.equal(verifier.verify(...args), verifyPortable(...args))
    return verifier.verify(...args)
  })
  assert.equal(verdicts.length, 12)
  // All of them have keys of small order or with torsion, or an S or R that is not canonical.
  assert.equal(verdicts.some(Boolean), false)
})

test('keys of small order, with torsion and in another encoding are not admitted', () => {
  const small = [
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  ]
  for (const key of small) assert.equal(isAdmissibleKey(bytes(key)), false, key)
  const torsion = ed.Point.fromBytes(bytes(small[3] as string))
  const honest = createSigner(new Uint8Array(32).fill(1)).publicKey
  assert.equal(isAdmissibleKey(honest), true)
  assert.equal(isAdmissibleKey(ed.Point.fromBytes(honest).add(torsion).toBytes()), false)
  assert.equal(isAdmissibleKey(new Uint8Array(31)), false)
  assert.equal(isAdmissibleKey(new Uint8Array(32).fill(0xff)), false)
})

test('a signature whose R carries torsion, which cofactored verifiers accept, is refused by both', () => {
  const signer = createSigner(new Uint8Array(32).fill(2))
  const torsion = ed.Point.fromBytes(bytes('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'))
  for (let i = 0; i < 20; i++) {
    const message = utf8(`message ${i}`)
    const honest = signer.sign(message)
    const crafted = honest.slice()
    crafted.set(ed.Point.fromBytes(honest.subarray(0, 32)).add(torsion).toBytes())
    for (const [signature, isValid] of [
      [honest, true],
      [crafted, false],
    ] as const) {
      assert.equal(verifier.verify(signer.publicKey, message, signature), isValid)
      assert.equal(verifyPortable(signer.publicKey, message, signature), isValid)
    }
  }
})

test('wrong lengths are refused, never thrown; forgetting keys changes no verdict', () => {
  const small = createVerifier(2)
  for (let i = 0; i < 5; i++) {
    const keys = generateDeviceKeys()
    const signer = createSigner(keys.secretKey)
    assert.deepEqual(signer.publicKey, keys.publicKey)
    const message = utf8('hello')
    assert.equal(small.verify(signer.publicKey, message, signer.sign(message)), true)
    assert.equal(small.verify(signer.publicKey, utf8('other'), signer.sign(message)), false)
  }
  assert.equal(small.verify(new Uint8Array(3), new Uint8Array(0), new Uint8Array(64)), false)
  assert.equal(small.verify(new Uint8Array(32), new Uint8Array(0), new Uint8Array(63)), false)
})
