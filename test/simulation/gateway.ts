import { createHash } from 'node:crypto'
import { concat, equal, hex } from '../../runtime/base/bytes.ts'
import type { Keyring } from '../../runtime/access/keyring.ts'
import { sha256 } from '../../runtime/crypto/hash.ts'
import { LOCKED, type Batch, type Content, type Feed, type Ops } from '../../runtime/model/batch.ts'
import { randomInteger, type Random } from '../../runtime/base/random.ts'
import { Engine } from '../../runtime/sync/engine.ts'
import type { Space } from '../../runtime/ports/store.ts'
import type { WriteOp } from '../../runtime/ports/writer.ts'
import {
  NO_COLLECTION_KEYS,
  type CollectionKeys,
  type EngineOptions,
  type HistoryOptions,
  type Now,
  type Output,
} from '../../runtime/sync/types.ts'
import { hlcFromMs, msOfHlc, type Hlc, type Stamp } from '../../runtime/model/stamp.ts'
import type { Value } from '../../runtime/model/value.ts'
import type { Removal, Writer } from '../../runtime/access/seals.ts'
import { Scope, type Place } from '../../runtime/model/interest.ts'
import { placeOf, SELF_COLLECTION } from '../../runtime/model/names.ts'
import type { Document } from '../../runtime/model/document.ts'
import { LET_PASS_MS } from '../../runtime/sync/overrun.ts'
import { TOLD_PREFIX } from '../../runtime/sync/testimonies.ts'
import { readingOf, type Reading } from '../../runtime/sync/reading.ts'
import { SimulatedAuthority } from './authority.ts'
import { SimulatedDisk, type DiskWatch } from './disk.ts'
import type { Schedule } from './schedule.ts'

/**
 * A cheap stand-in for Ed25519: only the holder of the secret (here: the test) makes it, everyone can check it. Four lanes of
 * FNV-1a with the finish of MurmurHash3, four times over: any changed bit of key, message or signature is noticed.
 */
export function fakeSignature(publicKey: Uint8Array, message: Uint8Array): Uint8Array {
  const lanes = Uint32Array.of(0x811c9dc5, 0x9e3779b9, 0x7f4a7c15, 0x85ebca6b)
  mix(lanes, publicKey)
  mix(lanes, message)
  const signature = new Uint8Array(64)
  const words = new DataView(signature.buffer)
  for (let i = 0; i < 16; i++) words.setUint32(i * 4, finish((lanes[i & 3] as number) + i))
  return signature
}

function mix(lanes: Uint32Array, bytes: Uint8Array): void {
  let [a = 0, b = 0, c = 0, d = 0] = lanes
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number
    a = Math.imul(a ^ byte, 0x01000193)
    b = Math.imul(b ^ byte ^ a, 0x01000193)
    c = Math.imul(c ^ byte ^ b, 0x01000193)
    d = Math.imul(d ^ byte ^ c, 0x01000193)
  }
  lanes.set([a, b, c, d])
}

function finish(word: number): number {
  const half = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  const most = Math.imul(half ^ (half >>> 13), 0xc2b2ae35)
  return (most ^ (most >>> 16)) >>> 0
}

export interface Acknowledged {
  readonly gateway: number
  readonly place: string
  readonly op: WriteOp
  readonly stamp: Stamp
}

/** What a gateway asks of the simulated world. */
export interface World {
  readonly meshId: Uint8Array
  readonly random: Random
  readonly schedule: Schedule
  /** Shared by the gateways; without it each reads for itself. */
  readonly reading?: Reading
  peerIdOf(index: number): string
  send(from: number, link: number, bytes: Uint8Array): void
  closeLink(from: number, link: number, reason: string): void
  acknowledged(write: Acknowledged): void
  isSigned(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean
  members(): readonly Writer[]
  /** What a member may read; everything when absent. */
  readable?(origin: string): readonly string[]
  /** What of the engine's times and sizes is another than in other simulations. */
  readonly history: Partial<HistoryOptions>
  /** The keys of encrypted collections, which some gateways have; without it nothing is encrypted. */
  readonly keyring?: Keyring
  /** Of the engine of a gateway; without it as usual. */
  readonly engine?: (index: number) => Partial<EngineOptions>
  /** The gateway has stopped; all its links go down. */
  stopped(from: number): void
  started?(index: number): void
  event(from: number, name: string, fields: object): void
  /** A batch is on a disk. */
  stored(gateway: SimulatedGateway, feed: Feed, batch: Batch, ops: Ops | null): void
  /** Dead batches have left a disk. */
  dropped(
    gateway: SimulatedGateway,
    before: ReadonlyMap<string, string>,
    after: ReadonlyMap<string, string>,
    mayChange: boolean,
  ): void
  /** A document may show something else; `mayGoBack`: also something older, by right. */
  shown?(gateway: SimulatedGateway, name: string, mayGoBack: boolean): void
}

/** No right clock of the simulated world shows an earlier time. */
const BUILT_MS = Date.UTC(2025, 11, 1)

/** Minutes stand for days. */
const HISTORY = {
  pruneGraceMs: 20_000,
  tombstoneGraceMs: 40_000,
  minBytes: 2_000,
  intervalMs: 10_000,
  tombstoneMs: 30_000,
  beaconMs: 15_000,
  beaconStaleMs: 30_000,
  leaveBatches: 3,
  compareMs: 20_000,
} as const satisfies Partial<HistoryOptions>

interface Pending {
  readonly place: string
  readonly op: WriteOp
}

/** One gateway: the real engine over a simulated disk and clock. */
export class SimulatedGateway {
  readonly index: number
  readonly publicKey: Uint8Array
  disk: SimulatedDisk
  readonly authority: SimulatedAuthority
  readonly watch: DiskWatch
  incarnation: Uint8Array
  /** The incarnations that it began with its clock set back, in hexadecimal. */
  readonly setBackIn: Set<string> = new Set<string>()
  engine: Engine<Pending> | null = null
  /** Physical clock: Unix milliseconds at virtual time 0, and how far it is believed. */
  clockBaseMs: number
  readonly rightClockMs: number
  trust: 0 | 1 | 2
  readonly rightTrust: 0 | 1 | 2
  flushMsMax = 20
  isDiskFull = false
  /** How many of its commits fail. */
  failRate = 0
  /** The stamp of its admission, and the greatest that it knows of beside what is stored. */
  since = 0
  mark = 0
  /** How often it was started. */
  boots = 0
  /** It was removed, and doesn't come back. */
  isGone = false
  /** What its profile says that it keeps. */
  interest: readonly string[] = ['*']
  /** Places that it has kept before and then not, for a while or still. */
  readonly onceLeft: Set<string> = new Set<string>()
  /** The latest time that its clock ever showed, in Unix milliseconds. */
  latestWallMs = 0
  /** It may read what is encrypted. */
  hasKeys = true
  /** Of others' stamps in the store none beyond it lifts its clock, for it has been set back; milliseconds ahead of the run's time. */
  #ceilingMs: number = Number.POSITIVE_INFINITY
  #nonces = 0
  readonly #world: World
  readonly #links = new Set<number>()
  /** Of what it was made, so that it is made anew when that changes. */
  #scope: { readonly interest: readonly string[]; readonly readable: readonly string[]; readonly scope: Scope } | null =
    null
  #isSelfNews = false
  #flushedAt = 0
  #wakeAt = Number.POSITIVE_INFINITY

  constructor(world: World, index: number, publicKey: Uint8Array, clockBaseMs: number, trust: 0 | 1 | 2) {
    this.#world = world
    this.watch = {
      read: (feed, batch) => this.#read(feed, batch),
      taken: (feed, batch, ops) => {
        world.stored(this, feed, batch, ops)
        if (feed.descriptor.collection === SELF_COLLECTION) this.#isSelfNews = true
      },
      dropped: (before, after, mayChange) => world.dropped(this, before, after, mayChange),
      changed: (name, mayGoBack) => world.shown?.(this, name, mayGoBack),
    }
    this.disk = new SimulatedDisk(this.watch)
    this.incarnation = publicKey.slice(0, 8)
    this.authority = new SimulatedAuthority(
      world.meshId,
      world.peerIdOf(index),
      () => world.members(),
      (origin) => world.readable?.(origin) ?? ['*'],
      (key, message, signature) => world.isSigned(key, message, signature),
    )
    this.index = index
    this.publicKey = publicKey
    this.clockBaseMs = clockBaseMs
    this.rightClockMs = clockBaseMs
    this.trust = trust
    this.rightTrust = trust
  }

  get isUp(): boolean {
    return this.engine !== null
  }

  get peerId(): string {
    return this.#world.peerIdOf(this.index)
  }

  /** Whether it is to have the feed. */
  keeps(feed: Feed): boolean {
    return feed.origin === this.peerId || this.keepsAt(feed.descriptor)
  }

  /** Whether the document, or the cell, is of a place that it has left, for a while or still: there it saw just its own. */
  hasLeft(name: string): boolean {
    return [...this.onceLeft].some((place) => name.startsWith(`${place}/`))
  }

  /** Whether it can read what is written there. */
  readsAt({ collection }: Place): boolean {
    return this.hasKeys || !this.#keys.isEncrypted(collection)
  }

  /** An administrator has given it the keys. */
  learnKeys(): void {
    this.hasKeys = true
    if (this.engine === null) return
    this.disk.unlock()
    this.engine.handle(this.now(), { type: 'authority-changed' })
    this.#pump()
  }

  get #keys(): CollectionKeys {
    const { keyring } = this.#world
    if (!keyring) return NO_COLLECTION_KEYS
    const of: CollectionKeys['of'] = (feed, epoch) => (this.hasKeys ? keyring.of(feed, epoch) : null)
    return {
      of,
      isEncrypted: (collection) => keyring.has(collection),
      current: (feed) => {
        const epoch = keyring.newest(feed.descriptor.collection)
        const key = epoch === null ? null : of(feed, epoch)
        return epoch === null || key === null ? null : { epoch, key, nonce: this.#nonce() }
      },
    }
  }

  #nonce(): Uint8Array {
    return sha256(this.publicKey, this.incarnation, Uint8Array.of(this.boots, (this.#nonces += 1))).slice(0, 12)
  }

  #read(feed: Feed, batch: Batch): Content {
    const ops = readingOf(this.#world.meshId).ops(feed, batch, this.#keys)
    if (ops.ok) return ops.value
    return ops.error.code === 'no-key' ? LOCKED : null
  }

  /** Here documents of one name stand in one place, whether they are encrypted or not. */
  #cells(place: Space): Uint8Array {
    return this.#keys.isEncrypted(place.collection) === (place.isEncrypted ?? false)
      ? this.disk.cells(place)
      : new Uint8Array(32)
  }

  keepsAt(place: Place): boolean {
    const { interest } = this
    const readable = this.authority.readable(this.peerId)
    if (this.#scope?.interest !== interest || this.#scope.readable !== readable)
      this.#scope = { interest, readable, scope: new Scope(interest, readable) }
    return this.#scope.scope.covers(place)
  }

  start(): void {
    this.boots += 1
    this.#links.clear()
    this.#world.started?.(this.index)
    if (this.hasKeys) this.disk.unlock()
    this.authority.restart()
    this.#learn()
    this.engine = new Engine<Pending>(
      {
        meshId: this.#world.meshId,
        peerId: this.peerId,
        publicKey: this.publicKey,
        incarnation: this.incarnation,
        clockFloor: this.#clockFloor,
        notBeforeMs: BUILT_MS,
        name: `gateway ${this.index}`,
        version: 'simulated',
        batchDelayMs: 0,
        batchOpsMax: 64,
        interest: this.interest,
        history: { ...HISTORY, ...this.#world.history },
        ...this.#world.engine?.(this.index),
      },
      {
        heads: () => this.disk.heads(),
        batches: (key, from, bytesMax) => this.disk.batches(key, from, bytesMax),
        getRecord: (key) => this.disk.getRecord(key),
        scanRecords: (prefix) => this.disk.scanRecords(prefix),
        head: (feedKey) => this.disk.head(feedKey),
        document: (place, key) => this.disk.document(place, key),
        cells: (place) => this.#cells(place),
        documentToWrite: (place, key) => this.disk.document(place, key),
        ...(this.#world.reading && { reading: this.#world.reading }),
        authority: this.authority,
        keys: this.#keys,
        sign: (message) => fakeSignature(this.publicKey, message),
      },
    )
    this.#pump()
  }

  /** Power is cut: of what the disk had not flushed, a random part survives. */
  crash(): void {
    this.engine = null
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.disk.powerCut(randomInteger(this.#world.random, 0, this.disk.cached))
  }

  /** What this incarnation has stamped itself counts, whatever it is. */
  get #clockFloor(): Hlc {
    const ceiling = hlcFromMs(this.#ceilingMs + this.#world.schedule.now)
    const stamps = this.disk.heads().map(({ feed: { origin, descriptor }, hlc }) => {
      // What it has given out under a former incarnation its mark knows; what a copy of its card did, it goes by no more than the engine.
      if (origin === this.peerId) return equal(descriptor.incarnation, this.incarnation) ? hlc : 0
      return hlc <= ceiling ? hlc : 0
    })
    return Math.max(this.since, this.mark, ...stamps)
  }

  /** Goes on under a new incarnation, as after a restart, above the stamps that it has given out. */
  renew(mark: Hlc = this.engine?.view.clock ?? 0): void {
    this.mark = mark
    this.engine = null
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.disk.powerCut(this.disk.cached)
    this.#world.stopped(this.index)
    this.newIncarnation()
    this.start()
  }

  /** Its clock had run ahead, and is set back to what is believed now. */
  setBack(): void {
    const { isClockAhead = false, clockDoubt = null } = this.engine?.view ?? {}
    if (this.engine === null || !isClockAhead || clockDoubt !== null) return
    const { wallMs } = this.engine.time(this.now())
    this.#ceilingMs = wallMs + LET_PASS_MS - this.#world.schedule.now
    this.renew(hlcFromMs(wallMs))
    this.setBackIn.add(hex(this.incarnation))
    // Now that all which the former incarnation had written is on the disk. It may be wrong again, and the others' stamps be right.
    this.latestWallMs = Math.max(wallMs, this.rightClockMs + this.#world.schedule.now)
  }

  /** Its owner gives it another profile: the engine is made anew, when all is on the disk. */
  changeInterest(interest: readonly string[]): void {
    // What its clock has come to it knows, though what it read goes.
    this.mark = Math.max(this.mark, this.engine?.view.clock ?? 0)
    this.engine = null
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.disk.powerCut(this.disk.cached)
    this.#world.stopped(this.index)
    this.interest = interest
    this.start()
  }

  newIncarnation(): void {
    this.incarnation = new Uint8Array(8).map(() => randomInteger(this.#world.random, 0, 255))
  }

  learnRemoval(removal: Removal): void {
    this.authority.addRemoval(removal)
    this.engine?.handle(this.now(), { type: 'authority-changed' })
    this.#pump()
  }

  /** Proofs of forks, seals of feeds that ran ahead, and what others tell of members' words, on the disk. True when something is new. */
  #learn(): boolean {
    this.#isSelfNews = false
    const seals: [string, string, Document][] = []
    const proofs = new Map<string, Uint8Array>()
    let isNew = false
    for (const [name, document] of this.disk.documents) {
      if (!name.startsWith(`${SELF_COLLECTION}/`)) continue
      const [, origin, what] = name.split('/')
      const of = (path: string): Value | undefined => document.values[document.paths.indexOf(path)]
      const proof = what === 'fork' ? of('proof') : null
      const key = name.slice(`${SELF_COLLECTION}/${origin}/`.length)
      if (key.startsWith(TOLD_PREFIX)) isNew = this.authority.learnTold(origin as string, key, document) || isNew
      if (proof instanceof Uint8Array) proofs.set(name, proof)
      if (what === 'seal') seals.push([origin as string, key, document])
    }
    isNew = this.authority.setProofs(proofs) || isNew
    return this.authority.setAhead(seals) || isNew
  }

  write(collection: string, op: WriteOp, partition = ''): void {
    const token = { place: placeOf({ collection, partition }), op }
    this.engine?.handle(this.now(), { type: 'write', write: { collection, partition, ops: [op], token } })
    this.#pump()
  }

  /** Whether a frame of the link is for this engine. */
  isLinked(link: number): boolean {
    return this.engine !== null && this.#links.has(link)
  }

  linkUp(link: number, peer: number): void {
    this.#links.add(link)
    this.engine?.handle(this.now(), { type: 'link-up', link, peerId: this.#world.peerIdOf(peer) })
    this.#pump()
  }

  linkDown(link: number): void {
    this.#links.delete(link)
    this.engine?.handle(this.now(), { type: 'link-down', link })
    this.#pump()
  }

  frame(link: number, bytes: Uint8Array): void {
    this.engine?.handle(this.now(), { type: 'frame', link, bytes })
    this.#pump()
  }

  /** Its clock goes right again. */
  correctClock(): void {
    this.clockBaseMs = this.rightClockMs
    this.trust = this.rightTrust
  }

  /** The operator sees to it that it is right. */
  setClock(baseMs: number): void {
    this.clockBaseMs = baseMs
    this.trust = 2
    // By what it has gone until it is set back.
    this.latestWallMs = Math.max(this.latestWallMs, msOfHlc(Math.max(this.mark, this.engine?.view.clock ?? 0)))
  }

  now(): Now {
    const { now } = this.#world.schedule
    this.latestWallMs = Math.max(this.latestWallMs, this.clockBaseMs + now)
    return { wallMs: this.clockBaseMs + now, trust: this.trust, monotonicMs: now }
  }

  #pump(): void {
    if (!this.engine) return
    for (let output = this.engine.poll(); output; output = this.engine.poll()) this.#do(output)
    this.#sleep()
  }

  #do(output: Output<Pending>): void {
    const world = this.#world
    switch (output.type) {
      case 'send':
        return world.send(this.index, output.link, output.bytes)
      case 'close':
        return world.closeLink(this.index, output.link, output.reason)
      case 'verify': {
        const isValid = isSound(world, output.feed, output.batch)
        this.engine?.handle(this.now(), { type: 'verified', ticket: output.ticket, isValid })
        return
      }
      case 'commit':
        return this.#commit(output)
      case 'written':
        output.tokens.forEach(({ place, op }, i) => {
          world.acknowledged({ gateway: this.index, place, op, stamp: output.written[i] as Stamp })
        })
        return
      case 'examine':
        return this.#examine(output)
      case 'write-failed':
      case 'confirmed':
        return
      case 'event':
        world.event(this.index, output.name, output.fields)
        if (output.name === 'incarnation-lost') this.#soon(() => this.renew())
        if (output.name === 'clock-ahead') this.#soon(() => this.setBack())
        return
    }
  }

  #soon(act: () => void): void {
    const boot = this.boots
    this.#world.schedule.after(100, () => {
      if (this.boots === boot && this.engine) act()
    })
  }

  #commit(commit: Extract<Output<Pending>, { type: 'commit' }>): void {
    const { schedule, random } = this.#world
    const boot = this.boots
    const answer = (act: () => void): void => {
      if (this.engine && this.boots === boot) act()
      this.#pump()
    }
    const isFailing = this.isDiskFull || (this.failRate > 0 && random() < this.failRate)
    if (isFailing || !this.disk.append(commit)) {
      schedule.after(1, () =>
        answer(() =>
          this.engine?.handle(this.now(), { type: 'commit-failed', ticket: commit.ticket, code: 'storage-full' }),
        ),
      )
      return
    }
    // One flush after the other, so that answers come in the order of the appends.
    this.#flushedAt = Math.max(this.#flushedAt, schedule.now) + randomInteger(random, 1, this.flushMsMax)
    schedule.at(this.#flushedAt, () =>
      answer(() => {
        this.disk.flushOne()
        this.engine?.handle(this.now(), { type: 'committed', ticket: commit.ticket })
        if (this.#isSelfNews && this.#learn()) this.engine?.handle(this.now(), { type: 'authority-changed' })
      }),
    )
  }

  /** As long as it takes to read a log. */
  #examine({ collection, partition }: { readonly collection: string; readonly partition: string }): void {
    const boot = this.boots
    this.#world.schedule.after(randomInteger(this.#world.random, 10, 2_000), () => {
      if (this.boots !== boot || !this.engine) return
      const found = this.disk.examine({ collection, partition })
      this.engine.handle(this.now(), { type: 'examined', collection, partition, ...found })
      this.#pump()
    })
  }

  #sleep(): void {
    const deadline = this.engine?.deadline ?? Number.POSITIVE_INFINITY
    if (deadline >= this.#wakeAt || deadline === Number.POSITIVE_INFINITY) return
    const boot = this.boots
    this.#wakeAt = deadline
    this.#world.schedule.at(Math.max(deadline, this.#world.schedule.now + 1), () => {
      // An earlier deadline came up since, and was met.
      if (this.boots !== boot || !this.engine || this.#wakeAt !== deadline) return
      this.#wakeAt = Number.POSITIVE_INFINITY
      this.engine.handle(this.now(), { type: 'time' })
      this.#pump()
    })
  }
}

/** Of batches, which never change: each comes to everyone. */
const verdicts = new WeakMap<Batch, { readonly publicKey: Uint8Array; readonly isValid: boolean }>()

function isSound(world: World, { descriptor: { publicKey } }: Feed, batch: Batch): boolean {
  const known = verdicts.get(batch)
  if (known !== undefined && equal(known.publicKey, publicKey)) return known.isValid
  const isValid = world.isSigned(publicKey, batch.signed, batch.signature)
  verdicts.set(batch, { publicKey, isValid })
  return isValid
}

export function fakeKey(seed: number, index: number): Uint8Array {
  return new Uint8Array(
    createHash('sha256')
      .update(concat(Uint8Array.of(seed & 255, (seed >> 8) & 255, (seed >> 16) & 255), numberBytes(index)))
      .digest(),
  )
}

function numberBytes(index: number): Uint8Array {
  return index < 256 ? Uint8Array.of(index) : Uint8Array.of(index & 255, index >> 8)
}
