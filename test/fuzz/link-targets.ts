import { createHandshake, type LinkKeyPair } from '../../runtime/crypto/noise.ts'
import { createSession } from '../../runtime/crypto/session.ts'
import { concat, utf8 } from '../../runtime/base/bytes.ts'
import { Channel } from '../../runtime/mesh/channel.ts'
import { readKnock } from '../../runtime/mesh/topics.ts'
import { encodeDeterministic } from '../../runtime/wire/deterministic.ts'
import { CAPABILITY, KEYS, MESH } from '../wire/samples.ts'
import { must, type Target } from './target.ts'

const LINK_KEYS: LinkKeyPair = { secretKey: KEYS.linkSecretKey, publicKey: KEYS.linkPublicKey }
const PROLOGUE = concat(utf8('marram1'), MESH, utf8('peer'))

/** What comes before and around the messages of a link. */
export const LINK_TARGETS: readonly Target[] = [
  {
    name: 'noise, first message',
    form: 'bytes',
    isCostly: true,
    samples: [opening()],
    run: (input) => {
      const responder = handshake('responder')
      return responder.read(input) !== null && responder.write(new Uint8Array(0)) !== null
    },
  },
  {
    name: 'noise, second message',
    form: 'bytes',
    isCostly: true,
    samples: [new Uint8Array(96), concat(LINK_KEYS.publicKey, new Uint8Array(80).fill(1))],
    run: (input) => {
      const initiator = handshake('initiator')
      initiator.write(new Uint8Array(0))
      return initiator.read(input) !== null
    },
  },
  {
    name: 'channel, handshake frame',
    form: 'bytes',
    isCostly: true,
    samples: [channel('initiator').open()],
    run: (input) => {
      const responder = channel('responder')
      const event = responder.receive(input)
      must(event.type !== 'established' && event.type !== 'plaintext', 'no key was proven')
      return event.type === 'reply'
    },
  },
  {
    name: 'channel, capabilities',
    form: 'cbor',
    isCostly: true,
    samples: [
      encodeDeterministic([CAPABILITY]),
      encodeDeterministic([CAPABILITY, CAPABILITY]),
      encodeDeterministic([]),
    ],
    run: (input) => isEstablishedWith(input),
  },
  {
    name: 'channel, sealed frame',
    form: 'bytes',
    samples: [sealed(new Uint8Array(0)), sealed(utf8('hello'))],
    run: (input) => createSession({ id: 7, send: key(1), receive: key(2) }).open(input) !== null,
  },
  {
    name: 'knock',
    form: 'bytes',
    samples: [new Uint8Array(96).fill(1)],
    run: (input) => readKnock(input) !== null,
  },
]

/** The third message, well sealed, with anything at all inside. */
function isEstablishedWith(payload: Uint8Array): boolean {
  const responder = channel('responder')
  const initiator = handshake('initiator')
  const reply = responder.receive(frame(0, initiator.write(new Uint8Array(0))))
  if (reply.type !== 'reply') throw new Error('The handshake does not begin')
  initiator.read(reply.frame.subarray(6))
  const event = responder.receive(frame(2, initiator.write(payload)))
  must(event.type === 'established' || event.type === 'failed', `it ended as ${event.type}`)
  return event.type === 'established'
}

function frame(step: number, message: Uint8Array | null): Uint8Array {
  return concat(Uint8Array.of(0, step, 0, 0, 0, 7), message ?? new Uint8Array(0))
}

function handshake(role: 'initiator' | 'responder'): ReturnType<typeof createHandshake> {
  return createHandshake({ role, prologue: PROLOGUE, staticKeys: LINK_KEYS })
}

function channel(role: 'initiator' | 'responder'): Channel {
  const options = { role, meshId: MESH, initiatorId: 'peer', linkKeys: LINK_KEYS, chain: [CAPABILITY], session: 7 }
  return new Channel({ ...options, judge: () => null })
}

function opening(): Uint8Array {
  return handshake('initiator').write(new Uint8Array(0)) as Uint8Array
}

function sealed(plaintext: Uint8Array): Uint8Array {
  return createSession({ id: 7, send: key(2), receive: key(1) }).seal(plaintext)
}

function key(byte: number): Uint8Array {
  return new Uint8Array(32).fill(byte)
}
