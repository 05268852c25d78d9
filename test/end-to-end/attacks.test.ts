import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Aedes } from 'aedes'
import { utf8 } from '../../runtime/base/bytes.ts'
import { seededRandom } from '../../runtime/base/random.ts'
import { generateDeviceKeys, meshIdOf, peerIdOf, type DeviceKeys } from '../../runtime/crypto/identity.ts'
import { createSigner, createVerifier } from '../../runtime/crypto/signature.ts'
import { loadIdentity } from '../../runtime/identity/identity.ts'
import { Channel } from '../../runtime/mesh/channel.ts'
import { answerJoin, enrol } from '../../runtime/mesh/enrolling.ts'
import type { JoinRequest } from '../../runtime/ports/enroller.ts'
import { Mesh } from '../../runtime/mesh/mesh.ts'
import { inboxTopic } from '../../runtime/mesh/topics.ts'
import { HLC_MAX } from '../../runtime/model/stamp.ts'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { parseAddress } from '../../runtime/profile/address.ts'
import { Candidates } from '../../runtime/topology/candidates.ts'
import { encodeCapability, verifyChain } from '../../runtime/wire/capability.ts'
import { decodeInvite, type Invite } from '../../runtime/wire/invite.ts'
import { encodeMessages } from '../../runtime/wire/message.ts'
import { found, GatewayProcess, joined, marram, temporaryFolder, until, untilEqual } from './harness.ts'

/** What those try who are no members of a mesh, or want to be more than they are. */

const SILENT = { debug() {}, info() {}, warn() {}, error() {} }
const SECRET = utf8('sixteen secrets!')

function inviteTo(port: number): Invite {
  const root = createSigner(new Uint8Array(32).fill(1))
  return {
    meshId: meshIdOf(root.publicKey, 'test'),
    meshName: 'test',
    rootPublicKey: root.publicKey,
    addresses: [`mqtt://127.0.0.1:${port}`],
    inviteId: new Uint8Array(8).fill(2),
    secret: SECRET,
    expiry: Date.now() + 60_000,
  }
}

/** A broker of its own, which plays the gateway that an invite names as well as it can without a key of the mesh. */
async function impostor(t: TestContext, chainOf: (invite: Invite, keys: DeviceKeys) => Uint8Array[]): Promise<Invite> {
  const keys = generateDeviceKeys()
  const aedes = await Aedes.createBroker()
  const server = createServer(aedes.handle)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    aedes.close()
  })
  const invite = inviteTo((server.address() as { port: number }).port)
  const channels = new Map<string, Channel>()
  aedes.on('publish', ({ topic, payload }, client) => {
    if (client === null) return
    const joiner = topic.split('/').at(-1) as string
    const channel =
      channels.get(joiner) ??
      new Channel({
        role: 'responder',
        meshId: invite.meshId,
        initiatorId: joiner,
        linkKeys: { secretKey: keys.linkSecretKey, publicKey: keys.linkPublicKey },
        chain: chainOf(invite, keys),
        judge: () => null,
      })
    channels.set(joiner, channel)
    const event = channel.receive(new Uint8Array(payload as Buffer))
    assert.notEqual(event.type, 'plaintext', 'the joiner has told the impostor something')
    if (event.type !== 'reply') return
    const reply = {
      cmd: 'publish',
      topic: inboxTopic(invite.meshId, joiner, 'broker'),
      qos: 0,
      retain: false,
      dup: false,
    }
    aedes.publish({ ...reply, cmd: 'publish', qos: 0, payload: Buffer.from(event.frame) }, () => {})
  })
  return invite
}

for (const [what, chainOf] of [
  ['shows nothing', () => []],
  [
    'shows a capability that it has signed itself',
    ({ meshId }: Invite, { publicKey, secretKey, linkPublicKey }: DeviceKeys) => {
      const signer = createSigner(secretKey)
      const capability = {
        issuer: publicKey,
        subject: publicKey,
        linkKey: linkPublicKey,
        notBefore: 0,
        expires: HLC_MAX,
        id: new Uint8Array(16),
        grants: [{ pattern: '$mesh', rights: 127 }],
        roles: ['admin'],
        name: 'root',
        invite: null,
      }
      return [encodeCapability(capability, meshId, (message) => signer.sign(message))]
    },
  ],
  [
    "shows a member's capability, whose key it does not have",
    ({ meshId }: Invite) => {
      const root = createSigner(new Uint8Array(32).fill(1))
      const member = generateDeviceKeys()
      const capability = {
        issuer: root.publicKey,
        subject: member.publicKey,
        linkKey: member.linkPublicKey,
        notBefore: 0,
        expires: HLC_MAX,
        id: new Uint8Array(16),
        grants: [{ pattern: '$mesh', rights: 127 }],
        roles: ['admin'],
        name: 'founder',
        invite: null,
      }
      const bytes = encodeCapability(capability, meshId, (message) => root.sign(message))
      assert.ok(verifyChain(meshId, root.publicKey, [bytes], createVerifier()).ok, 'the capability itself is good')
      return [bytes]
    },
  ],
] as const)
  test(`an impostor that ${what} learns no secret of an invite`, async (t) => {
    const invite = await impostor(t, chainOf)
    const outcome = await enrol({ invite, keys: generateDeviceKeys(), name: 'joiner' })
    assert.equal(outcome.type, 'unreachable')
    assert.match((outcome as { reason: string }).reason, /no member of the mesh|belongs to another key/)
  })

test('a key of small order, or with a part of it, is admitted nowhere', async () => {
  const keys = generateDeviceKeys()
  const handshakeHash = new Uint8Array(32).fill(5)
  const asked: JoinRequest[] = []
  const joinWith = (publicKey: Uint8Array): Promise<Uint8Array | null> => {
    const { linkPublicKey: linkKey, secretKey } = keys
    const signature = createSigner(secretKey).sign(handshakeHash)
    const { inviteId, secret } = inviteTo(1)
    const join = { type: 'join', inviteId, secret, publicKey, linkKey, name: 'joiner', signature } as const
    return answerJoin(encodeMessages([join]), handshakeHash, peerIdOf(publicKey), (request) => {
      asked.push(request)
      return Promise.resolve({ refusal: 'unknown' })
    })
  }
  assert.notEqual(await joinWith(keys.publicKey), null, 'a sound one is asked for')
  assert.equal(asked.length, 1)
  // The points of small order, and one that has such a part (RFC 8032 section 5.1; the list of Chalkias and others, 2020).
  const orders = [
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0000000000000000000000000000000000000000000000000000000000000080',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d',
  ]
  for (const order of orders) assert.equal(await joinWith(new Uint8Array(Buffer.from(order, 'hex'))), null, order)
  assert.equal(asked.length, 1)
})

test('invites that have ended or were taken back admit nobody', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const { token: brief } = await a.json<{ token: string }>('invite', '--expires', '1s')
  const { token: lost } = await a.json<{ token: string }>('invite', '--uses', '5')
  assert.deepEqual((await a.json<{ joined: string[] }>('invite', '--revoke', lost)).joined, [])
  const again = await marram('invite', '--revoke', lost, '--dir', a.dir)
  assert.equal(again.code, 1)
  assert.match(again.stderr, /it has been revoked/)
  assert.equal((await marram('invite', '--revoke', brief, '--dir', b.dir)).code, 77)
  const briefly = decodeInvite(brief)
  await until('the brief one has ended', () => briefly.ok && Date.now() > briefly.value.expiry)
  for (const [name, token, why] of [
    ['late', brief, 'expired'],
    ['thief', lost, 'unknown'],
  ] as const) {
    const gateway = new GatewayProcess(join(folder, name))
    t.after(() => gateway.stop('SIGKILL'))
    await gateway.run('join', token)
    await gateway.start()
    await until(`${name} is refused`, async () => (await gateway.json<StatusView>('status')).enrolment === why)
  }
})

test("a member's capability opens no link without its key, under its name or another", async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const { mesh, keys: stolen } = loadIdentity(b.dir)
  await b.stop()
  const address = parseAddress(a.address)
  assert.ok(address.ok)
  for (const claims of [peerIdOf(stolen.publicKey), null]) {
    const keys = generateDeviceKeys()
    const peerId = claims ?? peerIdOf(keys.publicKey)
    const ended: unknown[] = []
    const candidates = new Candidates({ peerId, links: { min: 1, max: 8 }, random: seededRandom(1) })
    const thief = new Mesh({
      keys,
      peerId,
      meshId: mesh.meshId,
      chain: () => mesh.chain ?? [],
      hasEnded: () => false,
      admit: () => null,
      farewell: () => null,
      candidates,
      onRemember: () => {},
      shape: {
        isReachable: () => false,
        isSought: () => false,
        wanted: new Set(),
        makeRoomFor: () => null,
        referralsFor: () => [],
      },
      relays: [],
      random: seededRandom(1),
      linksMax: 8,
      handler: { up: () => assert.fail('it is linked'), frame: () => {}, down: () => {} },
      mayEnrol: () => false,
      enroller: () => Promise.reject(new Error('nobody joins here')),
      log: { ...SILENT, debug: (event, fields) => event === 'dial-ended' && ended.push(fields) },
      monotonicMs: () => performance.now(),
    })
    t.after(() => thief.closeAll())
    candidates.setBootstrap([a.address], performance.now())
    thief.dial()
    await until('it was turned away', () => ended.length > 0)
    thief.closeAll()
    assert.equal((await a.json<StatusView>('status')).links.up, 0)
  }
})

test('a revoked administrator lets nobody in any more, and whom it had let in before stays', async (t) => {
  const folder = temporaryFolder()
  const alone = { set: ['mesh.discovery=["bootstrap"]'] }
  const a = await found(t, folder, 'a', alone)
  const b = await joined(t, folder, 'b', a, alone)
  const { peerId } = await b.json<StatusView>('status')
  await a.run('grant', peerId, '--role', 'admin')
  await until('b may invite', async () => (await marram('invite', '--dir', b.dir)).code === 0)
  const c = await joined(t, folder, 'c', b, { ...alone, bootstrap: [a.address, b.address] })
  await c.run('put', 'climate', 'c', '{"v":1}')
  await untilEqual(a, b, c)
  await b.stop()
  await a.run('revoke', peerId, '--now')
  await untilEqual(a, c)
  await c.stop()

  // Whoever has the card lets others in with it, where nobody hears of the removal.
  await b.start({ ...alone, bootstrap: ['mqtt://127.0.0.1:1'] })
  const d = await joined(t, folder, 'd', b, { ...alone, bootstrap: ['mqtt://127.0.0.1:1'] })
  await d.run('put', 'climate', 'd', '{"v":1}')
  await Promise.all([b.stop(), d.stop()])
  await d.start({ ...alone, bootstrap: [a.address] })
  const isRefused = (reason: unknown): boolean => /no member of this mesh/.test(String(reason))
  await until('it is refused', () => [...a.lines, ...d.lines].some(({ reason }) => isRefused(reason)))
  await c.start({ ...alone, bootstrap: [a.address] })
  await c.run('put', 'climate', 'c', '{"v":2}')
  await untilEqual(a, c)
  assert.equal((await a.json<{ count: number }>('count', 'climate')).count, 1)
})
