import assert from 'node:assert/strict'
import { test } from 'node:test'
import { equal, latin1 } from '../../runtime/base/bytes.ts'
import { TIMES } from '../../runtime/sync/core.ts'
import { feedIdOfBatch, seqOfBatch } from '../../runtime/wire/batch.ts'
import { encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import { Mesh } from '../simulation/mesh.ts'
import { promisesOf } from '../simulation/promises.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

/** A ring of eight with chords to every third. */
const EDGES = Array.from({ length: 8 }, (_, i): [number, number][] => [
  [i, (i + 1) % 8],
  [i, (i + 3) % 8],
]).flat()

const PRIORITY = new Map([['alarms', 'urgent'] as const])

test('after an absence a gateway is sent just what it lacked, each batch once (SPEC I11)', () => {
  const sent: string[] = []
  const mesh = new Mesh({
    gateways: 2,
    edges: [[0, 1]],
    onFrame: (_, to, bytes) => {
      if (to !== 1) return
      for (const batch of promisesOf(bytes)?.batches ?? []) sent.push(nameOf(batch))
    },
  })
  mesh.at(0).write('climate', { kind: 'put', key: 'kitchen', fields: { on: true } })
  mesh.pass(2_000)
  mesh.linkDown(0)
  const held = new Set(sent.splice(0))
  for (let i = 0; i < 20; i++) {
    mesh.at(0).write('climate', { kind: 'put', key: `room-${i}`, fields: { on: true } })
    mesh.pass(100)
  }
  assert.deepEqual(sent, [])
  mesh.linkUp(0)
  mesh.pass(2_000)
  assert.equal(sent.length, 20)
  assert.equal(new Set(sent).size, 20)
  assert.ok(sent.every((name) => !held.has(name)))
})

test('SPEC I21: what was asked for by number does not go back when it came from there before it could be sent', () => {
  const played = new Played()
  const author = new Author(played, 1)
  author.put('hall', { temperature: 1 })
  author.push()
  const { credit } = played
  played.credit = 0
  played.again()
  author.introduce()
  const told = played.pass(100).filter((message) => message.type === 'feed')
  const descriptor = encodeDescriptor(author.feed.descriptor)
  const alias = told.find((message) => equal(message.descriptor, descriptor))?.alias ?? -1
  author.put('hall', { temperature: 2 })
  played.say({ type: 'want', entries: [[alias, 1, 0, [1, 2]]] })
  author.push()
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 2)
  played.say({ type: 'ack', lsn: 0, credit, entries: [] })
  const sent = played.pass(100).flatMap((message) => (message.type === 'data' ? message.batches : []))
  assert.deepEqual(sent.map(seqOfBatch), [1])
})

test('over a line with a round trip of four seconds each batch comes once too: nobody asks again before an answer can be there', () => {
  const came: string[] = []
  let requests = 0
  const mesh = new Mesh({
    gateways: 2,
    edges: [[0, 1]],
    delayMs: 2_000,
    onFrame: (_, to, bytes) => {
      const promises = promisesOf(bytes)
      if (to === 1) came.push(...(promises?.batches ?? []).map(nameOf))
      else requests += promises?.wants ?? 0
    },
  })
  mesh.pass(20_000)
  came.length = 0
  requests = 0
  for (let i = 0; i < 20; i++) {
    mesh.at(0).write('climate', { kind: 'put', key: `room-${i}`, fields: { on: true } })
    mesh.pass(500)
  }
  mesh.pass(20_000)
  assert.equal(new Set(came).size, came.length)
  assert.ok(came.length >= 20)
  assert.equal(requests, 1)
})

test('over a line with a round trip of more than half a minute nobody is woken before there is something to do', () => {
  const mesh = new Mesh({ gateways: 2, edges: [[0, 1]], delayMs: 17_000 })
  mesh.pass(120_000)
  mesh.at(0).write('climate', { kind: 'put', key: 'hall', fields: { on: true } })
  for (let i = 0; i < 200; i++) {
    mesh.pass(500)
    for (const { engine } of mesh.gateways) assert.ok((engine?.deadline ?? 0) > mesh.schedule.now)
  }
})

test('a batch comes to each gateway once, of an urgent collection about twice (SPEC I22)', () => {
  for (const [collection, least, most] of [
    ['climate', 1, 1.1],
    ['alarms', 1.2, 2.1],
  ] as const) {
    let copies = 0
    const firsts = new Set<string>()
    const mesh: Mesh = new Mesh({
      gateways: 8,
      edges: EDGES,
      engine: () => ({ flow: { priority: PRIORITY } }),
      onFrame: (_, to, bytes) => {
        for (const batch of promisesOf(bytes)?.batches ?? []) {
          copies += 1
          firsts.add(`${to} ${nameOf(batch)}`)
        }
      },
    })
    const write = (rounds: number): void => {
      for (let i = 0; i < rounds; i++) {
        for (const gateway of mesh.up()) gateway.write(collection, { kind: 'put', key: 'door', fields: { i } })
        mesh.pass(100)
      }
    }
    write(20)
    copies = 0
    firsts.clear()
    write(50)
    const ratio = copies / firsts.size
    assert.ok(firsts.size > 2_500, `${collection}: only ${firsts.size} came`)
    assert.ok(ratio >= least && ratio <= most, `${collection}: ${ratio} copies`)
  }
})

test('when a parent dies unnoticed, an urgent batch comes by the second one at once, and after three in ten have gone again', () => {
  // On each gateway, but for the writer itself.
  for (const victim of [1, 2, 3, 4, 5, 6, 7]) {
    const mesh = new Mesh({ gateways: 8, edges: EDGES, engine: () => ({ flow: { priority: PRIORITY } }) })
    writeOn(mesh, 20)
    dieUnnoticed(mesh, victim)
    assert.deepEqual(lackingAfterWrite(mesh, 'fire'), [], `without gateway ${victim}`)
  }
  const mesh = new Mesh({ gateways: 8, edges: EDGES, engine: () => ({ flow: { priority: PRIORITY } }) })
  writeOn(mesh, 20)
  for (const gone of [2, 5]) mesh.vanish(gone)
  writeOn(mesh, 20)
  dieUnnoticed(mesh, 1)
  assert.deepEqual(lackingAfterWrite(mesh, 'fire'), [])
})

/** The first one writes, ten times a second. */
function writeOn(mesh: Mesh, rounds: number): void {
  for (let i = 0; i < rounds; i++) {
    mesh.at(0).write('alarms', { kind: 'put', key: 'door', fields: { i } })
    mesh.pass(100)
  }
  mesh.pass(1_000)
}

/** Its power is gone: nobody is told, and no ping is overdue yet. */
function dieUnnoticed(mesh: Mesh, index: number): void {
  mesh.vanished.add(index)
  mesh.at(index).engine = null
}

/** Who lacks what the first one writes before news of heads, or any timeout, could have brought it. */
function lackingAfterWrite(mesh: Mesh, key: string): number[] {
  mesh.at(0).write('alarms', { kind: 'put', key, fields: { on: true } })
  mesh.pass(TIMES.tellMs - 50)
  const lacking = mesh.up().filter(({ disk }) => !disk.document({ collection: 'alarms', partition: '' }, key))
  return lacking.map(({ index }) => index)
}

function nameOf(batch: Uint8Array): string {
  return `${latin1(feedIdOfBatch(batch))} ${seqOfBatch(batch)}`
}
