import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromHex, hex, utf8 } from '../../runtime/base/bytes.ts'
import { deviceKeysFrom, generateDeviceKeys } from '../../runtime/crypto/identity.ts'
import { createHandshake, type Handshake, type LinkKeyPair } from '../../runtime/crypto/noise.ts'
import { readVectors } from '../vectors/read.ts'

interface NoiseVector {
  readonly protocol_name: string
  readonly handshake_hash: string
  readonly [name: string]: unknown
  readonly messages: readonly { readonly payload: string; readonly ciphertext: string }[]
}

const { vectors } = readVectors('noise-25519-chachapoly-sha256.json') as { vectors: NoiseVector[] }
const PROLOGUE = utf8('marram1')

function keys(secret: unknown): LinkKeyPair {
  const secretKey = bytes(secret)
  return { secretKey, publicKey: deviceKeysFrom(secretKey, secretKey).linkPublicKey }
}

function bytes(text: unknown): Uint8Array {
  return fromHex(String(text)) as Uint8Array
}

function written(handshake: Handshake, payload: Uint8Array): Uint8Array {
  const message = handshake.write(payload)
  assert.ok(message)
  return message
}

function linkKeys(): LinkKeyPair {
  const device = generateDeviceKeys()
  return { secretKey: device.linkSecretKey, publicKey: device.linkPublicKey }
}

function pair(): { initiator: Handshake; responder: Handshake; keysI: LinkKeyPair; keysR: LinkKeyPair } {
  const keysI = linkKeys()
  const keysR = linkKeys()
  return {
    initiator: createHandshake({ role: 'initiator', prologue: PROLOGUE, staticKeys: keysI }),
    responder: createHandshake({ role: 'responder', prologue: PROLOGUE, staticKeys: keysR }),
    keysI,
    keysR,
  }
}

test('the handshake makes the bytes and the hash of the published XX vectors', () => {
  const xx = vectors.filter((vector) => vector.protocol_name === 'Noise_XX_25519_ChaChaPoly_SHA256')
  assert.ok(xx.length > 0)
  for (const vector of xx) {
    const initiator = createHandshake({
      role: 'initiator',
      prologue: bytes(vector['init_prologue']),
      staticKeys: keys(vector['init_static']),
      ephemeral: keys(vector['init_ephemeral']),
    })
    const responder = createHandshake({
      role: 'responder',
      prologue: bytes(vector['resp_prologue']),
      staticKeys: keys(vector['resp_static']),
      ephemeral: keys(vector['resp_ephemeral']),
    })
    vector.messages.slice(0, 3).forEach(({ payload, ciphertext }, step) => {
      const [writer, reader] = step % 2 === 0 ? [initiator, responder] : [responder, initiator]
      const message = written(writer, bytes(payload))
      assert.equal(hex(message), ciphertext)
      assert.equal(hex(reader.read(message) as Uint8Array), payload)
    })
    assert.equal(hex(initiator.handshakeHash), vector.handshake_hash)
    assert.equal(hex(responder.handshakeHash), vector.handshake_hash)
    assert.equal(hex(initiator.split().send), hex(responder.split().receive))
    assert.equal(hex(initiator.split().receive), hex(responder.split().send))
  }
})

test('each side learns the other’s static key and payloads', () => {
  const { initiator, responder, keysI, keysR } = pair()
  assert.deepEqual(responder.read(written(initiator, utf8('one'))), utf8('one'))
  assert.deepEqual(initiator.read(written(responder, utf8('two'))), utf8('two'))
  assert.deepEqual(responder.read(written(initiator, utf8('three'))), utf8('three'))
  assert.deepEqual(initiator.remoteStatic, keysR.publicKey)
  assert.deepEqual(responder.remoteStatic, keysI.publicKey)
  assert.ok(initiator.isComplete && responder.isComplete)
})

test('a bit flipped anywhere in the second or third message ends the handshake', () => {
  for (let step = 1; step <= 2; step++) {
    const length = step === 1 ? 96 + 3 : 64 + 3
    for (let at = 0; at < length; at++) {
      const { initiator, responder } = pair()
      responder.read(written(initiator, utf8('one')))
      const second = written(responder, utf8('two'))
      if (step === 1) {
        second[at] = (second[at] as number) ^ 1
        assert.equal(initiator.read(second), null, `byte ${at} of message 2`)
        continue
      }
      initiator.read(second)
      const third = written(initiator, utf8('thr'))
      third[at] = (third[at] as number) ^ 1
      assert.equal(responder.read(third), null, `byte ${at} of message 3`)
      assert.equal(responder.isComplete, false)
    }
  }
})

test('another prologue, a truncated message, a message out of turn and a small-order key are refused', () => {
  const { initiator, responder } = pair()
  const other = createHandshake({ role: 'responder', prologue: utf8('other'), staticKeys: linkKeys() })
  const first = written(initiator, new Uint8Array(0))
  other.read(first)
  assert.equal(initiator.read(written(other, new Uint8Array(0))), null)
  assert.equal(responder.read(first.subarray(0, 31)), null)
  assert.equal(responder.read(first), null, 'a dead handshake stays dead')

  const fresh = pair()
  assert.equal(fresh.initiator.read(new Uint8Array(96)), null, 'the initiator writes first')
  const smallOrder = createHandshake({ role: 'responder', prologue: PROLOGUE, staticKeys: linkKeys() })
  smallOrder.read(new Uint8Array(32))
  assert.equal(smallOrder.write(new Uint8Array(0)), null, 'the shared secret would be zero')
})
