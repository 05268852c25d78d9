import { Bucket } from '../base/bucket.ts'
import { equal, latin1 } from '../base/bytes.ts'
import { DISCOVERY_LIMITS, PROTOCOL_LIMITS } from '../base/limits.ts'
import type { Result } from '../base/result.ts'
import {
  decodeAddressRecord,
  encodeAddressRecord,
  isNewer,
  type AddressRecord,
  type SignedRecord,
} from '../wire/address-record.ts'
import { Reach } from './reach.ts'

/**
 * What every gateway of the mesh says of itself: where it can be dialled, and whom it is linked with. Each signs its own
 * record anew when that changes, and hands on those of others as it got them, so all know all (link-state flooding, as
 * OSPF's, RFC 2328 13). From the links that both their ends tell of follows who can be reached over whomever. Without I/O:
 * times are monotonic milliseconds.
 */
export interface RoutesOptions {
  readonly meshId: Uint8Array
  readonly peerId: string
  readonly publicKey: Uint8Array
  /** To begin with; greater than any that was signed before, as far as that is known. */
  readonly number: number
  readonly sign: (message: Uint8Array) => Uint8Array
  readonly verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean
  /** Whether it belongs to the mesh now. */
  readonly isMember: (peerId: string) => boolean
  /** How bytes become records: pure, so that whoever runs many gateways at once need read each just once. */
  readonly read?: (bytes: Uint8Array) => Result<SignedRecord>
}

/** Records for a neighbour. */
export interface Exchange {
  readonly peerId: string
  readonly records: readonly Uint8Array[]
}

/** What this gateway says of itself, beside its links. */
export type OwnTraits = Pick<AddressRecord, 'addresses' | 'cell' | 'isSuperPeer' | 'isMetered'>

/** Our own record is signed at most so often, doubling up to the most while it goes on changing (RFC 2328, MinLSInterval). */
const OWN_MS = 1_000
const OWN_MS_MAX = 8_000
const SEND_MS = 100
/** Of anybody else's one is taken so often, the newest of those that came since (RFC 2328, MinLSArrival). */
const TAKE_MS = 1_000

/** A record that came too soon after the one before it. */
interface Early {
  readonly record: SignedRecord
  readonly from: string
}

interface Neighbour {
  /** Whose records it has not been told in their latest form. */
  readonly pending: Set<string>
  readonly bucket: Bucket
}

export class Routes {
  readonly #options: RoutesOptions
  readonly #read: (bytes: Uint8Array) => Result<SignedRecord>
  readonly #records = new Map<string, SignedRecord>()
  /** By the end of their signatures, so that one that is known already is not decoded: over several links most are. */
  readonly #byTail = new Map<string, SignedRecord>()
  /** When each was taken, and newer ones that wait; by whom they are of. */
  readonly #takenAt = new Map<string, number>()
  readonly #early = new Map<string, Early>()
  /** Whose records are kept although they are no members, as far as is known here yet; and which neighbours told of them. */
  readonly #strangers = new Map<string, Set<string>>()
  readonly #neighbours = new Map<string, Neighbour>()
  readonly #reach: Reach
  #number: number
  #traits: OwnTraits = { addresses: [], cell: '', isSuperPeer: false, isMetered: false }
  #isOwnDue = true
  #ownWaitMs = OWN_MS
  #ownAt = Number.NEGATIVE_INFINITY
  #sentAt = Number.NEGATIVE_INFINITY

  constructor(options: RoutesOptions) {
    this.#options = options
    this.#read = options.read ?? ((bytes) => decodeAddressRecord(options.meshId, bytes))
    this.#number = options.number
    this.#reach = new Reach((peerId) => this.#isOther(peerId))
  }

  setOwn(traits: OwnTraits): void {
    const { addresses, cell, isSuperPeer, isMetered } = this.#traits
    const isSame = cell === traits.cell && isSuperPeer === traits.isSuperPeer && isMetered === traits.isMetered
    if (isSame && addresses.join() === traits.addresses.join()) return
    this.#traits = traits
    this.#isOwnDue = true
  }

  /** What a member says of itself, as far as it was heard. */
  recordOf(peerId: string): SignedRecord | undefined {
    return this.#isOther(peerId) ? this.#records.get(peerId) : undefined
  }

  /** It may have forgotten what it was told over an earlier link, and what it said of itself. */
  linkUp(peerId: string): void {
    const bucket = new Bucket(DISCOVERY_LIMITS.recordsPerSecond, DISCOVERY_LIMITS.gatewaysMax)
    this.#neighbours.set(peerId, { pending: new Set(this.#records.keys()), bucket })
    this.#reach.linkUp(peerId)
    this.#isOwnDue = true
  }

  linkDown(peerId: string): void {
    if (!this.#neighbours.delete(peerId)) return
    for (const [stranger, tellers] of this.#strangers)
      if (tellers.delete(peerId) && tellers.size === 0 && !this.#options.isMember(stranger)) this.#forget(stranger)
    this.#reach.linkDown(peerId)
    this.#isOwnDue = true
  }

  /** The records among these that were news. Malformed and forged ones are dropped, and so is what comes too fast. */
  receive(from: string, records: readonly Uint8Array[], nowMs: number): SignedRecord[] {
    const neighbour = this.#neighbours.get(from)
    if (!neighbour) return []
    const news: SignedRecord[] = []
    for (const bytes of records) {
      const known = this.#byTail.get(tailOf(bytes))
      if (known && (known.bytes === bytes || equal(known.bytes, bytes))) {
        neighbour.pending.delete(known.peerId)
        this.#strangers.get(known.peerId)?.add(from)
        continue
      }
      const record = this.#read(bytes)
      if (record.ok && this.#take(neighbour, { record: record.value, from }, nowMs)) news.push(record.value)
    }
    return news
  }

  /** Records that were news but came too early, and that count now. */
  ripe(nowMs: number): SignedRecord[] {
    const news: SignedRecord[] = []
    for (const early of this.#early.values())
      if (nowMs >= this.#ripeAt(early.record.peerId) && this.#accept(early, nowMs)) news.push(early.record)
    return news
  }

  /** Records that wait because their gateways were not known to belong, and do now. */
  admitted(): SignedRecord[] {
    this.#reach.forget()
    const admitted = [...this.#strangers.keys()].filter((peerId) => this.#options.isMember(peerId))
    for (const peerId of admitted) {
      this.#strangers.delete(peerId)
      for (const { pending } of this.#neighbours.values()) pending.add(peerId)
    }
    return admitted.map((peerId) => this.#records.get(peerId) as SignedRecord)
  }

  /** What is to be sent now. */
  poll(nowMs: number): Exchange[] {
    if (this.#isOwnDue && nowMs >= this.#ownAt + this.#ownWaitMs) this.#signOwn(nowMs)
    if (nowMs < this.#sentAt + SEND_MS) return []
    const exchanges: Exchange[] = []
    for (const [peerId, { pending }] of this.#neighbours) {
      const records = this.#nextOf(pending)
      if (records.length > 0) exchanges.push({ peerId, records })
    }
    if (exchanges.length > 0) this.#sentAt = nowMs
    return exchanges
  }

  /** Monotonic milliseconds at which `poll` or `ripe` may have something; Infinity when only an event can bring it. */
  get deadline(): number {
    const isPending = [...this.#neighbours.values()].some(({ pending }) => pending.size > 0)
    return Math.min(
      this.#isOwnDue ? this.#ownAt + this.#ownWaitMs : Number.POSITIVE_INFINITY,
      isPending ? this.#sentAt + SEND_MS : Number.POSITIVE_INFINITY,
      ...[...this.#early.keys()].map((peerId) => this.#ripeAt(peerId)),
    )
  }

  /** Members to whom there is a way over links that are up, as far as is known; this gateway is not among them. */
  reachable(): ReadonlySet<string> {
    return this.#reach.all()
  }

  /** Members that have said something since this gateway started. */
  known(): string[] {
    return [...this.#records.keys()].filter((peerId) => this.#isOther(peerId))
  }

  /** Whether a neighbour would still be reached when its link with us went. */
  isSpare(peerId: string): boolean {
    return this.#reach.isSpare(peerId)
  }

  #take(neighbour: Neighbour, early: Early, nowMs: number): boolean {
    const { peerId, number, publicKey, signed, signature, bytes } = early.record
    const latest = this.#early.get(peerId)?.record ?? this.#records.get(peerId)
    if (latest && !isNewer(early.record, latest)) {
      if (!equal(latest.bytes, bytes)) neighbour.pending.add(peerId)
      return false
    }
    if (!latest && !this.#hasRoom(peerId)) return false
    if (!neighbour.bucket.take(nowMs) || !this.#options.verify(publicKey, signed, signature)) return false
    // From before a restart that forgot how far it had counted: ours must be the greater one.
    if (peerId === this.#options.peerId) {
      this.#number = Math.max(this.#number, number)
      this.#isOwnDue = true
      return false
    }
    if (nowMs >= this.#ripeAt(peerId)) return this.#accept(early, nowMs)
    this.#early.set(peerId, early)
    return false
  }

  #ripeAt(peerId: string): number {
    return (this.#takenAt.get(peerId) ?? Number.NEGATIVE_INFINITY) + TAKE_MS
  }

  /** Whether it is news of a member. */
  #accept({ record, from }: Early, nowMs: number): boolean {
    const { peerId } = record
    this.#keep(record)
    this.#takenAt.set(peerId, nowMs)
    this.#early.delete(peerId)
    // What it has it need not be told.
    this.#neighbours.get(from)?.pending.delete(peerId)
    if (!this.#options.isMember(peerId)) {
      this.#strangers.set(peerId, new Set([from]))
      return false
    }
    for (const [other, { pending }] of this.#neighbours) if (other !== from) pending.add(peerId)
    return true
  }

  /** Of those that are no members a few are kept, and none in the place of a member's. */
  #hasRoom(peerId: string): boolean {
    const isFull = this.#records.size >= DISCOVERY_LIMITS.gatewaysMax
    if (peerId === this.#options.peerId || this.#options.isMember(peerId))
      return !isFull || this.#dispensable !== undefined
    return !isFull && this.#strangers.size < DISCOVERY_LIMITS.strangersMax
  }

  /** Whose record makes room for a member's: one that is none, or none any more. */
  get #dispensable(): string | undefined {
    return [...this.#records.keys()].find((peerId) => peerId !== this.#options.peerId && !this.#isOther(peerId))
  }

  #signOwn(nowMs: number): void {
    const { meshId, peerId, publicKey, sign } = this.#options
    this.#number += 1
    const links = [...this.#neighbours.keys()].sort().slice(0, PROTOCOL_LIMITS.linksPerRecordMax)
    const bytes = encodeAddressRecord({ publicKey, number: this.#number, links, ...this.#traits }, meshId, sign)
    const own = this.#read(bytes)
    if (!own.ok) throw new Error(`Assertion failed: our own record is sound: ${own.error.message}`)
    this.#keep(own.value)
    this.#isOwnDue = false
    const isSoon = nowMs < this.#ownAt + 2 * this.#ownWaitMs
    this.#ownWaitMs = isSoon ? Math.min(this.#ownWaitMs * 2, OWN_MS_MAX) : OWN_MS
    this.#ownAt = nowMs
    for (const { pending } of this.#neighbours.values()) pending.add(peerId)
  }

  /** Strangers' records wait until they belong. Its own is told to a gateway as well: it signs above what it had forgotten. */
  #nextOf(pending: Set<string>): Uint8Array[] {
    const records: Uint8Array[] = []
    let room = DISCOVERY_LIMITS.recordBytesAtOnce
    for (const peerId of pending) {
      const record = this.#records.get(peerId)
      const isOurs = peerId === this.#options.peerId
      if (records.length >= DISCOVERY_LIMITS.recordsAtOnce || room < (record?.bytes.length ?? 0)) break
      pending.delete(peerId)
      if (!record || (!isOurs && !this.#options.isMember(peerId))) continue
      records.push(record.bytes)
      room -= record.bytes.length
    }
    return records
  }

  #keep(record: SignedRecord): void {
    const before = this.#records.get(record.peerId)
    const given = before || this.#records.size < DISCOVERY_LIMITS.gatewaysMax ? undefined : this.#dispensable
    if (before) this.#byTail.delete(tailOf(before.bytes))
    if (given !== undefined) this.#forget(given)
    this.#byTail.set(tailOf(record.bytes), record)
    this.#records.set(record.peerId, record)
    this.#reach.tell(record.peerId, record.links)
  }

  #forget(peerId: string): void {
    const record = this.#records.get(peerId)
    if (record) this.#byTail.delete(tailOf(record.bytes))
    for (const byPeer of [this.#records, this.#takenAt, this.#early, this.#strangers]) byPeer.delete(peerId)
    this.#reach.leave(peerId)
  }

  #isOther(peerId: string): boolean {
    return peerId !== this.#options.peerId && this.#options.isMember(peerId)
  }
}

const TAIL_BYTES = 16

function tailOf(bytes: Uint8Array): string {
  return latin1(bytes.subarray(-TAIL_BYTES))
}
