import assert from 'node:assert/strict'
import { test } from 'node:test'
import { grantsOf } from '../../runtime/access/roles.ts'
import { generateDeviceKeys, peerIdOf } from '../../runtime/crypto/identity.ts'
import { createSigner } from '../../runtime/crypto/signature.ts'
import { Channel } from '../../runtime/mesh/channel.ts'
import type { Enroller } from '../../runtime/ports/enroller.ts'
import { Gate } from '../../runtime/mesh/gate.ts'
import type { LinkTable } from '../../runtime/mesh/link-table.ts'
import { drawSession } from '../../runtime/mesh/session-number.ts'
import { JOIN_USER } from '../../runtime/mesh/topics.ts'
import type { FramePeer } from '../../runtime/ports/broker.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { encodeCapability } from '../../runtime/wire/capability.ts'
import { encodeMessages } from '../../runtime/wire/message.ts'

const MESH_ID = new Uint8Array(16).fill(3)
const [admin, newcomer] = [generateDeviceKeys(), generateDeviceKeys()]

/** Somebody who joins, past the handshake; `join` says one JOIN more. */
function joiner(enroller: Enroller) {
  const claims = {
    issuer: admin.publicKey,
    subject: admin.publicKey,
    linkKey: admin.linkPublicKey,
    notBefore: 5,
    expires: 2 ** 53 - 1,
    id: new Uint8Array(16).fill(1),
    grants: grantsOf('admin') ?? [],
    roles: ['admin'],
    name: 'it',
    invite: null,
  }
  const chain = [encodeCapability(claims, MESH_ID, (message) => createSigner(admin.secretKey).sign(message))]
  const options = { keys: admin, meshId: MESH_ID, chain: () => chain, linksMax: 8, enroller, log: SILENT_LOG }
  const gate = new Gate({} as LinkTable, options)
  const source = peerIdOf(newcomer.publicKey)
  const { linkSecretKey: secretKey, linkPublicKey: publicKey } = newcomer
  const channel = new Channel({
    role: 'initiator',
    meshId: MESH_ID,
    initiatorId: source,
    linkKeys: { secretKey, publicKey },
    chain: [],
    judge: () => null,
    session: drawSession(),
  })
  const seen = { answers: 0, disconnected: 0 }
  const from = {
    user: JOIN_USER,
    source,
    send: (frame: Uint8Array) => {
      const event = channel.receive(frame)
      if (event.type === 'reply') gate.receive(from, event.frame)
      else if (event.type === 'plaintext') seen.answers += 1
      return true
    },
    disconnect: () => (seen.disconnected += 1),
  } as unknown as FramePeer
  gate.receive(from, channel.open())
  const join = (): void => {
    const signature = createSigner(newcomer.secretKey).sign(channel.handshakeHash)
    const { publicKey: subject, linkPublicKey: linkKey } = newcomer
    const invite = { inviteId: new Uint8Array(8), secret: new Uint8Array(16) }
    const message = { type: 'join', ...invite, publicKey: subject, linkKey, name: 'new', signature } as const
    gate.receive(from, channel.seal(encodeMessages([message])))
  }
  return { seen, join }
}

test('whoever joins is answered once, however often it asks: a secret is not to be guessed at', async () => {
  let asked = 0
  const { seen, join } = joiner(() => {
    asked += 1
    return Promise.resolve({ refusal: 'unknown' })
  })
  for (let i = 0; i < 5; i++) join()
  await new Promise(setImmediate)
  assert.deepEqual([asked, seen.answers], [1, 1])
})

test('a disk that does not take a newcomer ends its connection and nothing else', async () => {
  const { seen, join } = joiner(() => Promise.reject(new Error('the disk is full')))
  join()
  await new Promise(setImmediate)
  assert.deepEqual([seen.answers, seen.disconnected], [0, 1])
})
