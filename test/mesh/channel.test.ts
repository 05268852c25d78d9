import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../runtime/base/bytes.ts'
import { generateDeviceKeys, peerIdOf, type DeviceKeys } from '../../runtime/crypto/identity.ts'
import { Channel, type ChannelEvent, type RemoteProof } from '../../runtime/mesh/channel.ts'

const MESH = new Uint8Array(16).fill(1)

interface Side {
  readonly channel: Channel
  readonly seen: RemoteProof[]
}

function side(
  role: 'initiator' | 'responder',
  keys: DeviceKeys,
  initiator: DeviceKeys,
  options: { meshId?: Uint8Array; chain?: Uint8Array[]; refuse?: string } = {},
): Side {
  const seen: RemoteProof[] = []
  const channel = new Channel({
    role,
    meshId: options.meshId ?? MESH,
    initiatorId: peerIdOf(initiator.publicKey),
    linkKeys: { secretKey: keys.linkSecretKey, publicKey: keys.linkPublicKey },
    chain: options.chain ?? [],
    judge: (remote) => {
      seen.push(remote)
      return options.refuse ?? null
    },
    session: 7,
  })
  return { channel, seen }
}

function frameOf(event: ChannelEvent): Uint8Array {
  assert.equal(event.type, 'reply')
  return (event as Extract<ChannelEvent, { type: 'reply' }>).frame
}

function pair(options: Parameters<typeof side>[3] = {}): { a: Side; b: Side; keysA: DeviceKeys; keysB: DeviceKeys } {
  const [keysA, keysB] = [generateDeviceKeys(), generateDeviceKeys()]
  const a = side('initiator', keysA, keysA, { chain: [utf8('proof of a')] })
  const b = side('responder', keysB, keysA, { chain: [utf8('proof of b')], ...options })
  return { a, b, keysA, keysB }
}

/** Runs the whole handshake. */
function established(): ReturnType<typeof pair> {
  const both = pair()
  const reply = both.b.channel.receive(both.a.channel.open())
  const last = both.a.channel.receive(frameOf(reply))
  assert.equal(both.b.channel.receive(frameOf(last)).type, 'established')
  return both
}

test('both sides prove their link key and show their capabilities, and then only sealed frames pass (SPEC I27)', () => {
  const { a, b, keysA, keysB } = established()
  assert.deepEqual(a.seen, [{ linkKey: keysB.linkPublicKey, chain: [utf8('proof of b')] }])
  assert.deepEqual(b.seen, [{ linkKey: keysA.linkPublicKey, chain: [utf8('proof of a')] }])
  assert.deepEqual(a.channel.handshakeHash, b.channel.handshakeHash)
  const frame = a.channel.seal(utf8('hello'))
  assert.deepEqual(b.channel.receive(frame), { type: 'plaintext', bytes: utf8('hello') })
  assert.deepEqual(b.channel.receive(frame), { type: 'ignored' }, 'a replay')
  assert.deepEqual(b.channel.receive(utf8('hello')), { type: 'ignored' })
})

test('another mesh, a refused proof and a bit flipped anywhere come to nothing', () => {
  const stranger = pair({ meshId: new Uint8Array(16).fill(2) })
  const answer = stranger.b.channel.receive(stranger.a.channel.open())
  assert.equal(stranger.a.channel.receive(frameOf(answer)).type, 'failed')
  assert.equal(stranger.a.seen.length, 0, 'nothing of a stranger is believed')

  const refused = pair({ refuse: 'it is no member' })
  const last = refused.a.channel.receive(frameOf(refused.b.channel.receive(refused.a.channel.open())))
  assert.deepEqual(refused.b.channel.receive(frameOf(last)), { type: 'failed', reason: 'it is no member' })

  const sample = pair()
  const length = frameOf(sample.b.channel.receive(sample.a.channel.open())).length
  for (let at = 0; at < length; at++) {
    const { a, b } = pair()
    const reply = frameOf(b.channel.receive(a.channel.open()))
    reply[at] = (reply[at] as number) ^ 0x40
    assert.ok(['failed', 'ignored'].includes(a.channel.receive(reply).type), `byte ${at}`)
    assert.equal(a.channel.isEstablished, false)
  }
})

test('frames out of turn, cut short and from another session change nothing', () => {
  const { a, b } = pair()
  const first = a.channel.open()
  assert.deepEqual(b.channel.receive(first.subarray(0, 4)), { type: 'ignored' })
  assert.equal(b.channel.receive(first.subarray(0, 20)).type, 'failed')
  const again = pair()
  const opening = again.a.channel.open()
  const reply = frameOf(again.b.channel.receive(opening))
  assert.deepEqual(again.b.channel.receive(opening), { type: 'ignored' }, 'the first message again')
  const other = reply.slice()
  other[5] = (other[5] as number) ^ 1
  assert.deepEqual(again.a.channel.receive(other), { type: 'ignored' }, 'another session')
  assert.equal(again.a.channel.receive(reply).type, 'reply')
})
