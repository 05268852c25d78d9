import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DISCOVERY_LIMITS } from '../../runtime/base/limits.ts'
import { seededRandom } from '../../runtime/base/random.ts'
import { deviceKeysFrom, peerIdOf } from '../../runtime/crypto/identity.ts'
import { createSigner, createVerifier } from '../../runtime/crypto/signature.ts'
import { Routes } from '../../runtime/topology/routes.ts'
import { encodeAddressRecord } from '../../runtime/wire/address-record.ts'

const MESH_ID = new Uint8Array(16).fill(3)
const SAYS_NOTHING = { addresses: [], cell: '', isSuperPeer: false, isMetered: false }

interface Node {
  readonly peerId: string
  readonly publicKey: Uint8Array
  readonly sign: (message: Uint8Array) => Uint8Array
  readonly routes: Routes
  received: number
}

function node(
  seed: number,
  isMember: (peerId: string) => boolean = () => true,
  number = 0,
  verify?: () => boolean,
): Node {
  const keys = deviceKeysFrom(new Uint8Array(32).fill(seed), new Uint8Array(32).fill(seed))
  const signer = createSigner(keys.secretKey)
  const verifier = createVerifier(64)
  const peerId = peerIdOf(keys.publicKey)
  const sign = (message: Uint8Array): Uint8Array => signer.sign(message)
  const { publicKey } = keys
  const routes = new Routes({
    meshId: MESH_ID,
    peerId,
    publicKey,
    number,
    sign,
    verify: verify ?? verifier.verify.bind(verifier),
    isMember,
  })
  routes.setOwn({ ...SAYS_NOTHING, addresses: [`mqtt://10.0.0.${seed}:1883`] })
  return { peerId, publicKey, sign, routes, received: 0 }
}

function recordOf({ publicKey, sign }: Pick<Node, 'publicKey' | 'sign'>, number: number): Uint8Array {
  return encodeAddressRecord({ ...SAYS_NOTHING, publicKey, number, links: [] }, MESH_ID, sign)
}

/** Gateways and the links between them; time goes on until nothing is said any more. */
class Mesh {
  readonly nodes: Node[]
  readonly #links = new Set<string>()
  nowMs = 0

  constructor(...nodes: Node[]) {
    this.nodes = nodes
  }

  link(a: number, b: number, isUp = true): void {
    const [one, other] = [this.nodes[a] as Node, this.nodes[b] as Node]
    const name = [a, b].sort((x, y) => x - y).join()
    if (isUp === this.#links.has(name)) return
    if (isUp) this.#links.add(name)
    else this.#links.delete(name)
    one.routes[isUp ? 'linkUp' : 'linkDown'](other.peerId)
    other.routes[isUp ? 'linkUp' : 'linkDown'](one.peerId)
  }

  settle(ms = 10_000): void {
    for (const end = this.nowMs + ms; this.nowMs < end; this.nowMs += 100) {
      for (const from of this.nodes) {
        from.routes.ripe(this.nowMs)
        for (const { peerId, records } of from.routes.poll(this.nowMs)) {
          const to = this.nodes.find((other) => other.peerId === peerId)
          if (to) to.received += records.length
          to?.routes.receive(from.peerId, records, this.nowMs)
        }
      }
    }
  }

  /** Whom a gateway has a way to, by its number. */
  reachable(from: number): string {
    const found = (this.nodes[from] as Node).routes.reachable()
    return this.nodes.flatMap(({ peerId }, i) => (found.has(peerId) ? [i] : [])).join('')
  }
}

test('every gateway learns where all others are and who reaches whom, over any number of links', () => {
  const mesh = new Mesh(...[1, 2, 3, 4, 5].map((seed) => node(seed)))
  for (const i of [0, 1, 2, 3]) mesh.link(i, i + 1)
  mesh.settle()
  for (const i of mesh.nodes.keys()) assert.equal(mesh.reachable(i), '01234'.replace(String(i), ''))
  const before = mesh.nodes.map(({ received }) => received)
  mesh.settle()
  assert.deepEqual(
    mesh.nodes.map(({ received }) => received),
    before,
    'nothing is said when nothing changes',
  )
})

test('a cut is known on both of its sides, and that it has healed as well', () => {
  const mesh = new Mesh(...[1, 2, 3, 4, 5].map((seed) => node(seed)))
  for (const [a, b] of [
    [0, 1],
    [1, 2],
    [2, 3],
    [3, 4],
    [4, 0],
  ] as const)
    mesh.link(a, b)
  mesh.settle()
  mesh.link(1, 2, false)
  mesh.settle()
  assert.deepEqual([mesh.reachable(0), mesh.reachable(2)], ['1234', '0134'], 'the ring holds')
  mesh.link(4, 0, false)
  mesh.settle()
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((i) => mesh.reachable(i)),
    ['1', '0', '34', '24', '23'],
  )
  mesh.link(1, 2)
  mesh.settle()
  assert.deepEqual(
    [0, 4].map((i) => mesh.reachable(i)),
    ['1234', '0123'],
  )
})

test('links that come and go at random leave everybody knowing who is connected', () => {
  const random = seededRandom(7)
  const mesh = new Mesh(...Array.from({ length: 9 }, (_, i) => node(i + 1)))
  const up = new Set<string>()
  for (let round = 0; round < 60; round++) {
    const [a, b] = [Math.floor(random() * 9), Math.floor(random() * 9)]
    if (a === b) continue
    const isUp = random() < 0.5
    mesh.link(a, b, isUp)
    for (const name of [`${a},${b}`, `${b},${a}`])
      if (isUp) up.add(name)
      else up.delete(name)
    mesh.settle(Math.floor(random() * 500))
  }
  mesh.settle()
  for (const i of mesh.nodes.keys()) {
    const found = new Set([i])
    for (const one of found) for (const j of mesh.nodes.keys()) if (up.has(`${one},${j}`)) found.add(j)
    assert.equal(
      mesh.reachable(i),
      [...found]
        .sort((x, y) => x - y)
        .filter((j) => j !== i)
        .join(''),
      `of ${i}`,
    )
  }
})

/** The first of three in a row restarts elsewhere with a number to begin with; where the last one believes it to be. */
function restarted(before: number, after: number, isBack: (mesh: Mesh) => void): readonly string[] | undefined {
  const mesh = new Mesh(node(1, undefined, before), node(2), node(3))
  mesh.link(0, 1)
  mesh.link(1, 2)
  mesh.settle()
  mesh.link(0, 1, false)
  const again = node(1, undefined, after)
  again.routes.setOwn({ ...SAYS_NOTHING, addresses: ['mqtt://10.1.0.1:1883'] })
  mesh.nodes[0] = again
  isBack(mesh)
  mesh.settle()
  assert.deepEqual([mesh.reachable(0), mesh.reachable(2)], ['12', '01'])
  return mesh.nodes[2]?.routes.recordOf(again.peerId)?.addresses
}

test('a gateway that forgot how far it had counted is heard again, wherever it is now', () => {
  for (const after of [5, 999, 1_000, 1_001]) {
    const back = restarted(1_000, after, (mesh) => {
      mesh.settle()
      mesh.link(0, 1)
    })
    assert.deepEqual(back, ['mqtt://10.1.0.1:1883'], `after ${after}`)
  }
})

test('a gateway that begins anew with a neighbour who had not heard of it is told of what it said before', () => {
  for (const after of [5, 1_000]) {
    const back = restarted(1_000, after, (mesh) => {
      mesh.link(1, 2, false)
      mesh.nodes[1] = node(2)
      mesh.link(0, 1)
      mesh.settle()
      mesh.link(1, 2)
    })
    assert.deepEqual(back, ['mqtt://10.1.0.1:1883'], `after ${after}`)
  }
})

test('a record that was changed on its way, or is of another mesh, is dropped', () => {
  const [a, b] = [node(1), node(2)]
  a.routes.linkUp(b.peerId)
  const record = { ...SAYS_NOTHING, publicKey: b.publicKey, number: 7, links: [a.peerId] }
  const sound = encodeAddressRecord(record, MESH_ID, b.sign)
  const other = encodeAddressRecord(record, new Uint8Array(16).fill(4), b.sign)
  const byOther = encodeAddressRecord(record, MESH_ID, a.sign)
  for (let at = 0; at < sound.length; at++) {
    const twisted = sound.slice()
    twisted[at] = (twisted[at] as number) ^ 1
    assert.deepEqual(a.routes.receive(b.peerId, [twisted], 0), [], `byte ${at}`)
  }
  assert.deepEqual(a.routes.receive(b.peerId, [other, byOther, new Uint8Array(0)], 10_000), [])
  assert.equal(a.routes.receive(b.peerId, [sound], 20_000)[0]?.peerId, b.peerId)
  assert.deepEqual(a.routes.receive(b.peerId, [sound], 30_000), [], 'it is no news any more')
})

test('of gateways that are no members a few records are kept, handed on only when they belong', () => {
  const members = new Set<string>()
  const isMember = (peerId: string): boolean => members.has(peerId)
  const [a, b, c, d] = [node(1, isMember), node(2, isMember), node(3), node(4)]
  for (const { peerId } of [a, b, c]) members.add(peerId)
  const mesh = new Mesh(a, b, c, d)
  mesh.link(0, 1)
  mesh.link(0, 2)
  mesh.link(2, 3)
  mesh.settle()
  assert.deepEqual([mesh.reachable(0), mesh.reachable(1)], ['12', '02'])
  members.add(d.peerId)
  assert.deepEqual(
    a.routes.admitted().map(({ peerId }) => peerId),
    [d.peerId],
  )
  mesh.settle()
  assert.equal(mesh.reachable(1), '023')
  for (let seed = 10; seed < 200; seed++) {
    const stranger = node(seed)
    const record = { ...SAYS_NOTHING, publicKey: stranger.publicKey, number: 1, links: [] }
    a.routes.receive(c.peerId, [encodeAddressRecord(record, MESH_ID, stranger.sign)], mesh.nowMs + seed * 1_000)
  }
  for (let seed = 10; seed < 200; seed++) members.add(node(seed).peerId)
  assert.equal(a.routes.admitted().length, DISCOVERY_LIMITS.strangersMax)
})

test('a neighbour that floods is heard so often and no more', () => {
  let verified = 0
  const verify = (): boolean => ++verified > 0
  const [a, b] = [node(1, undefined, 0, verify), node(2)]
  a.routes.linkUp(b.peerId)
  const count = DISCOVERY_LIMITS.gatewaysMax + 500
  for (let number = 1; number <= count; number++) a.routes.receive(b.peerId, [recordOf(b, number)], 1_000)
  assert.equal(verified, DISCOVERY_LIMITS.gatewaysMax)
})

test('of a gateway that says something new all the time one record a second goes through the mesh, and at last the newest', () => {
  const mesh = new Mesh(node(1), node(2), node(3))
  const loud = node(4)
  mesh.link(0, 1)
  mesh.link(1, 2)
  mesh.settle()
  const [first, , last] = mesh.nodes as [Node, Node, Node]
  const before = last.received
  first.routes.linkUp(loud.peerId)
  for (let number = 1; number <= 100; number++) {
    first.routes.receive(loud.peerId, [recordOf(loud, number)], mesh.nowMs)
    mesh.settle(100)
  }
  // The first one's own record is new as well, for it has one more link.
  assert.ok(last.received - before <= 12, `${last.received - before} records in ten seconds`)
  mesh.settle(2_000)
  for (const { routes } of [first, last]) assert.equal(routes.recordOf(loud.peerId)?.number, 100)
})

test('what came too soon is news when its time has come, and only the newest of it', () => {
  const [a, b] = [node(1), node(2)]
  a.routes.linkUp(b.peerId)
  const hear = (number: number, nowMs: number): number =>
    a.routes.receive(b.peerId, [recordOf(b, number)], nowMs).length
  assert.deepEqual([hear(1, 1_000), hear(2, 1_400), hear(4, 1_500), hear(3, 1_600)], [1, 0, 0, 0])
  assert.deepEqual(a.routes.ripe(1_999), [])
  a.routes.poll(1_999)
  a.routes.poll(3_000)
  assert.equal(a.routes.deadline, 2_000)
  assert.deepEqual(
    a.routes.ripe(2_000).map(({ number }) => number),
    [4],
  )
  assert.deepEqual(a.routes.ripe(9_000), [])
  assert.equal(hear(5, 2_999), 0, 'it is a second since the one before counted')
})

/** So many gateways' records, from `seed` on, told by one of two in turn; how many were news. */
function hearMany(a: Node, tellers: readonly Node[], count: number, seed: number): number {
  let news = 0
  for (let i = seed; i < seed + count; i++) {
    const { peerId, sign } = tellers[i % tellers.length] as Node
    news += a.routes.receive(peerId, [recordOf({ publicKey: keyOf(i), sign }, 1)], i * 1_000).length
  }
  return news
}

function keyOf(seed: number): Uint8Array {
  return Uint8Array.of(seed >> 8, seed & 255, ...new Uint8Array(30))
}

test('records of those that are no members, or no more, make room for those of members', () => {
  let isMember = (_peerId: string): boolean => true
  const a = node(
    1,
    (peerId) => isMember(peerId),
    0,
    () => true,
  )
  const [b, removed] = [node(2), node(3)]
  a.routes.linkUp(b.peerId)
  a.routes.receive(b.peerId, [recordOf(removed, 1)], 0)
  isMember = () => false
  assert.equal(hearMany(a, [b], DISCOVERY_LIMITS.strangersMax, 0), 0)
  const strangers = new Set(Array.from({ length: DISCOVERY_LIMITS.strangersMax }, (_, i) => peerIdOf(keyOf(i))))
  isMember = (peerId) => peerId !== removed.peerId && !strangers.has(peerId)
  assert.equal(hearMany(a, [b], DISCOVERY_LIMITS.gatewaysMax, 1_000), DISCOVERY_LIMITS.gatewaysMax)
  assert.equal(hearMany(a, [b], 1, 5_000), 0, 'no member gives way to another')
  assert.deepEqual(a.routes.admitted(), [])
})

test('records of those that are no members go with the last link that told of them', () => {
  let isMember = (_peerId: string): boolean => false
  const a = node(
    1,
    (peerId) => isMember(peerId),
    0,
    () => true,
  )
  const [b, c] = [node(2), node(3)]
  for (const { peerId } of [b, c]) a.routes.linkUp(peerId)
  hearMany(a, [b, c], DISCOVERY_LIMITS.strangersMax, 0)
  a.routes.receive(c.peerId, [recordOf({ publicKey: keyOf(0), sign: b.sign }, 1)], 100_000)
  a.routes.linkDown(b.peerId)
  hearMany(a, [c], 3, 2_000)
  isMember = () => true
  assert.equal(a.routes.admitted().length, DISCOVERY_LIMITS.strangersMax / 2 + 1 + 3)
})

test('a link is to spare when its peer is reached over others', () => {
  const mesh = new Mesh(...[1, 2, 3, 4].map((seed) => node(seed)))
  const spare = (): number[] =>
    [1, 2, 3].filter((i) => (mesh.nodes[0] as Node).routes.isSpare((mesh.nodes[i] as Node).peerId))
  for (const [a, b] of [
    [0, 1],
    [1, 2],
    [2, 0],
    [0, 3],
  ] as const)
    mesh.link(a, b)
  mesh.settle()
  assert.deepEqual(spare(), [1, 2], 'the triangle holds without one of its sides')
  mesh.link(1, 2, false)
  mesh.settle()
  assert.deepEqual(spare(), [], 'nobody else reaches them')
})

test('what a gateway says of itself reaches all, and more than one frame holds goes in several', () => {
  const mesh = new Mesh(...[1, 2, 3].map((seed) => node(seed)))
  mesh.nodes[0]?.routes.setOwn({ addresses: [], cell: 'north', isSuperPeer: true, isMetered: true })
  mesh.link(0, 1)
  mesh.link(1, 2)
  mesh.settle()
  const found = mesh.nodes[2]?.routes.recordOf((mesh.nodes[0] as Node).peerId)
  assert.deepEqual([found?.cell, found?.isSuperPeer, found?.isMetered], ['north', true, true])
  const great = {
    ...SAYS_NOTHING,
    links: Array.from({ length: 256 }, (_, i) =>
      i
        .toString(4)
        .replaceAll(/./g, (digit) => 'abcd'.charAt(Number(digit)))
        .padStart(23, 'z'),
    ),
    number: 9,
  }
  for (let seed = 10; seed < 26; seed++) {
    const { publicKey, peerId, sign } = node(seed)
    const bytes = encodeAddressRecord({ ...great, publicKey }, MESH_ID, sign)
    assert.equal(mesh.nodes[0]?.routes.receive(mesh.nodes[1]?.peerId ?? '', [bytes], mesh.nowMs)[0]?.peerId, peerId)
  }
  mesh.nodes[0]?.routes.linkUp((mesh.nodes[2] as Node).peerId)
  const sizes: number[] = []
  for (let i = 0; i < 10; i++) {
    mesh.nowMs += 1_000
    for (const { records } of mesh.nodes[0]?.routes.poll(mesh.nowMs) ?? [])
      sizes.push(records.reduce((sum, record) => sum + record.length, 0))
  }
  assert.ok(sizes.length > 3 && sizes.every((size) => size <= DISCOVERY_LIMITS.recordBytesAtOnce), sizes.join())
})
