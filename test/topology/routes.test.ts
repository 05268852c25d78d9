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

function node(seed: number, isMember: (peerId: string) => boolean = () => true, number = 0): Node {
  const keys = deviceKeysFrom(new Uint8Array(32).fill(seed), new Uint8Array(32).fill(seed))
  const signer = createSigner(keys.secretKey)
  const verifier = createVerifier(64)
  const peerId = peerIdOf(keys.publicKey)
  const sign = (message: Uint8Array): Uint8Array => signer.sign(message)
  const verify = verifier.verify.bind(verifier)
  const { publicKey } = keys
  const routes = new Routes({ meshId: MESH_ID, peerId, publicKey, number, sign, verify, isMember })
  routes.setOwn({ ...SAYS_NOTHING, addresses: [`mqtt://10.0.0.${seed}:1883`] })
  return { peerId, publicKey, sign, routes, received: 0 }
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
  const [a, b] = [node(1), node(2)]
  a.routes.linkUp(b.peerId)
  let news = 0
  const count = DISCOVERY_LIMITS.gatewaysMax + 500
  for (let number = 1; number <= count; number++) {
    const record = { ...SAYS_NOTHING, publicKey: b.publicKey, number, links: [] }
    news += a.routes.receive(b.peerId, [encodeAddressRecord(record, MESH_ID, b.sign)], 1_000).length
  }
  assert.equal(news, DISCOVERY_LIMITS.gatewaysMax)
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
