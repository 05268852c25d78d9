import { MarramError, sentenceOf } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { shellWord } from '../base/shell.ts'
import type { Driver } from '../driver/driver.ts'
import type { FeedHead } from '../model/batch.ts'
import { isWithin } from '../model/interest.ts'
import type { CollectionRules } from '../operations/documents.ts'
import { lagOf, type Behind } from '../operations/evidence.ts'
import { checkTransfer, refusalOf, type PeerKeeping } from '../operations/replicating.ts'
import type { Hold } from '../operations/retention.ts'
import { TransferProgress, type Seen, type Standing } from '../operations/transfer-progress.ts'
import { partsOf, patternOf, readTransfers, transfersRecord, viewOf, type Transfer } from '../operations/transfers.ts'
import type { Log } from '../ports/log.ts'
import type { ReplicationState, ReplicationTarget, ReplicationView, Replications } from '../ports/replication.ts'
import type { Drop, Store } from '../ports/store.ts'

export interface ReplicationOptions {
  readonly store: Store
  readonly meshId: Uint8Array
  readonly peerId: string
  readonly driver: () => Driver
  readonly rules: () => CollectionRules
  /** This gateway is a member. */
  readonly belongs: () => boolean
  /** Whether the peer is a member, or was before it was removed. */
  readonly isKnown: (peerId: string) => boolean
  /** The peer id that took the place of one whose keys were replaced; undefined for all others. */
  readonly successorOf: (peerId: string) => string | undefined
  /** Whether the peer is a member that is not being removed. */
  readonly isMember: (peerId: string) => boolean
  /** Empty where it is not known. */
  readonly nameOf: (peerId: string) => string
  readonly addressesOf: (peerId: string) => readonly string[]
  /** Whether there is a way to it over other gateways' links. */
  readonly isReachable: (peerId: string) => boolean
  /** Bytes that the store may take on its disk in all. */
  readonly roomBytes: () => number
  /** Whom to link with may be another now. */
  readonly onSought: () => void
  readonly tell: (name: string, fields: object) => void
  readonly log: Log
  readonly monotonicMs: () => number
}

/** What is kept of a transfer's progress goes to the disk at most so often by itself, in milliseconds. */
const SAVE_MS = 600_000
/** Series with an age together may take this share of the store's room before what waits for a peer goes by its age all the same. */
const HELD_SHARE = 0.5

type LackingAt = (peerId: string) => readonly Behind[]

interface Standings {
  readonly state: ReplicationState
  readonly reason: string | null
  readonly lacking: readonly Behind[]
}

/** Standing transfers to chosen gateways: which there are, how they stand, and what they keep retention from. */
export class Replication implements Replications {
  readonly #options: ReplicationOptions
  #transfers: Transfer[]
  readonly #progress = new Map<Transfer, TransferProgress>()
  readonly #names = new Map<string, string>()
  #savedMs: number
  #changing: Promise<unknown> = Promise.resolve()

  constructor(options: ReplicationOptions) {
    this.#options = options
    this.#transfers = readTransfers(options.store)
    this.#savedMs = options.monotonicMs()
  }

  replications(): readonly ReplicationView[] {
    const lackingAt = this.#lackingAt()
    return this.#transfers.map((transfer) => this.#view(transfer, lackingAt))
  }

  replicate(collection: string, target: ReplicationTarget): Promise<ReplicationView> {
    return this.#inTurn(() => this.#begin(collection, target))
  }

  stopReplicating(collection: string, target: ReplicationTarget): Promise<ReplicationView> {
    return this.#inTurn(() => this.#stop(collection, target))
  }

  async #begin(collection: string, { to, partition }: ReplicationTarget): Promise<ReplicationView> {
    const pattern = patternOf(collection, partition ?? null)
    const { peerId, belongs, isKnown, rules } = this.#options
    checkTransfer({ collection, partition: partition ?? null, to }, rules(), {
      isMember: belongs(),
      isSelf: to === peerId,
      isKnown: isKnown(to),
      peer: this.#keeping(to),
    })
    if (this.#find(pattern, to)) {
      const sentence = `Cannot replicate "${pattern}" to ${to}: such a transfer stands already, "marram replicate --list" shows it`
      throw new MarramError('already-exists', sentence)
    }
    if (this.#transfers.length >= GATEWAY_LIMITS.transfersMax) {
      const sentence = `Cannot replicate "${pattern}": ${GATEWAY_LIMITS.transfersMax} transfers stand already, stop one of them first`
      throw new MarramError('overloaded', sentence)
    }
    const { wallMs: sinceMs } = this.#seen()
    const transfer: Transfer = { pattern, peerId: to, sinceMs, confirmedMs: null, told: null, dropped: 0 }
    await this.#keep([...this.#transfers, transfer])
    return this.#view(transfer)
  }

  async #stop(collection: string, { to, partition }: ReplicationTarget): Promise<ReplicationView> {
    const pattern = patternOf(collection, partition ?? null)
    const transfer = this.#find(pattern, to)
    if (!transfer) {
      const sentence = `Cannot stop replicating "${pattern}" to ${to}: there is no such transfer, "marram replicate --list" shows those that stand`
      throw new MarramError('not-found', sentence)
    }
    const view = this.#view(transfer)
    await this.#keep(this.#transfers.filter((other) => other !== transfer))
    this.#progress.delete(transfer)
    return view
  }

  /** Whether some transfer is to reach that gateway. */
  isSought(peerId: string): boolean {
    return this.#transfers.some((transfer) => transfer.peerId === peerId)
  }

  /** To be called every few seconds: tells what has changed for more than a moment. */
  look(): void {
    const seen = this.#seen()
    const lackingAt = this.#lackingAt()
    const isOld = this.#options.monotonicMs() - this.#savedMs >= SAVE_MS && this.#transfers.length > 0
    let isDue = this.#followKeys() || isOld
    for (const transfer of this.#transfers) {
      const standing = this.#observe(transfer, seen, lackingAt)
      if (standing.state === transfer.told || !this.#progressOf(transfer).isSettled(seen)) continue
      transfer.told = standing.state
      isDue = true
      this.#tell(transfer, standing)
    }
    if (isDue) this.#save()
  }

  /** A gateway that got new keys is another peer on the same disk. True when a transfer goes to another one now. */
  #followKeys(): boolean {
    const { isMember, successorOf, onSought, log } = this.#options
    let isMoved = false
    for (const [i, transfer] of this.#transfers.entries()) {
      const peerId = isMember(transfer.peerId) ? undefined : successorOf(transfer.peerId)
      if (peerId === undefined || this.#find(transfer.pattern, peerId)) continue
      log.info('replication-moved', { ...partsOf(transfer.pattern), from: transfer.peerId, peerId })
      this.#progress.delete(transfer)
      this.#transfers[i] = { ...transfer, peerId }
      isMoved = true
    }
    if (isMoved) onSought()
    return isMoved
  }

  get warnings(): string[] {
    const lackingAt = this.#lackingAt()
    return this.#transfers.flatMap((transfer) => {
      const { pattern, peerId, dropped } = transfer
      const what = `"${pattern}" to ${this.#named(peerId)}`
      const end = `"${commandOf(transfer)} --stop" ends the transfer`
      const lost = `${dropped} batches went here before it had confirmed them, for they took more room than there is`
      const { state, reason } = this.#observe(transfer, this.#seen(), lackingAt)
      return [
        ...(state === 'refused' ? [`replication-refused: ${what}: ${reason}; ${end}`] : []),
        ...(state === 'unreachable' && transfer.told === state ? [`replication-unreachable: ${what}: ${reason}`] : []),
        ...(dropped > 0 ? [`replication-dropped: ${what}: ${lost}; ${end}`] : []),
      ]
    })
  }

  /** What retention leaves for those that have not got it yet; null when nothing is to be kept for anyone. */
  hold(): Hold | null {
    if (this.#followKeys()) this.#save()
    const standing = this.#transfers.filter(({ peerId }) => this.#options.isMember(peerId))
    if (standing.length === 0) return null
    const heldOf = this.#heldBy()
    return {
      confirmed: (head) => Math.min(head.seq, ...standing.map((transfer) => heldOf(transfer, head))),
      bytesMax: this.#options.roomBytes() * HELD_SHARE,
    }
  }

  /** Retention has let these go: what of it a peer had not confirmed is counted and told. */
  dropped(drops: readonly Drop[]): void {
    const heldOf = this.#heldBy()
    let isDue = false
    for (const transfer of this.#transfers) {
      if (!this.#options.isMember(transfer.peerId)) continue
      let batches = 0
      for (const { feed, seqs } of drops) {
        const head = this.#options.store.head(feed.key)
        if (head) batches += seqs.size - seqs.within(1, heldOf(transfer, head)).size
      }
      if (batches === 0) continue
      transfer.dropped += batches
      isDue = true
      const { peerId } = transfer
      const fields = { ...partsOf(transfer.pattern), peerId, name: this.#nameOf(peerId), batches }
      this.#options.log.warn('replication-dropped', fields)
      this.#options.tell('alert', { alert: 'replication-dropped', ...fields })
    }
    if (isDue) this.#save()
  }

  /** Up to where the peer of a transfer holds a feed, as far as the transfer covers it. */
  #heldBy(): (transfer: Transfer, head: FeedHead) => number {
    const lackingAt = this.#lackingAt()
    const heldByPeer = new Map<string, ReadonlyMap<string, number>>()
    const heldOf = (peerId: string): ReadonlyMap<string, number> => {
      const known = heldByPeer.get(peerId)
      if (known) return known
      const held = new Map(lackingAt(peerId).map((lag) => [lag.feedKey, lag.held]))
      heldByPeer.set(peerId, held)
      return held
    }
    return ({ pattern, peerId }, { feed, seq }) =>
      isWithin(pattern, feed.descriptor) ? (heldOf(peerId).get(feed.key) ?? seq) : seq
  }

  /** What peers have not confirmed, looked for once: it is found by going through all feeds. */
  #lackingAt(): LackingAt {
    const found = new Map<string, readonly Behind[]>()
    return (peerId) => {
      const lacking = found.get(peerId) ?? this.#options.driver().lackingAt(peerId)
      found.set(peerId, lacking)
      return lacking
    }
  }

  #view(transfer: Transfer, lackingAt: LackingAt = this.#lackingAt()): ReplicationView {
    const { store, meshId } = this.#options
    const seen = this.#seen()
    const { state, reason, lacking } = this.#observe(transfer, seen, lackingAt)
    const lag = lagOf(store, meshId, lacking, seen.wallMs)
    return viewOf(transfer, { name: this.#nameOf(transfer.peerId), state, reason, lag })
  }

  #observe(transfer: Transfer, seen: Seen, lackingAt: LackingAt): Standings {
    const { driver, store, rules, belongs } = this.#options
    const { pattern, peerId } = transfer
    const lacking = lackingAt(peerId).filter(({ feedKey }) => {
      const head = store.head(feedKey)
      return head !== undefined && isWithin(pattern, head.feed.descriptor)
    })
    const isLinked = driver().isUp(peerId)
    const refusal =
      refusalOf(partsOf(pattern), rules(), { isMember: belongs(), peer: this.#keeping(peerId) })?.why ?? null
    const standing: Standing = { isLinked, refusal, lacking }
    const progress = this.#progressOf(transfer)
    const state = progress.observe(seen, standing)
    transfer.confirmedMs = progress.confirmed?.wallMs ?? transfer.confirmedMs
    return { state, reason: state === 'unreachable' ? this.#silence(peerId) : refusal, lacking }
  }

  #silence(peerId: string): string {
    const { addressesOf, isReachable } = this.#options
    const addresses = addressesOf(peerId)
    const link = `there is no link with it${isReachable(peerId) ? ' itself, only with others that reach it' : ''}`
    if (addresses.length > 0) return `${link}; it is looked for at ${addresses.join(', ')}`
    return `${link}; unless it dials this gateway, add its address to "mesh.bootstrap" in the profile`
  }

  /** What the peer keeps and may read; null when it is no member, or not any more. */
  #keeping(peerId: string): PeerKeeping | null {
    if (!this.#options.isMember(peerId)) return null
    return { name: this.#nameOf(peerId) || peerId, scope: this.#options.driver().scopeOf(peerId) }
  }

  #tell({ pattern, peerId }: Transfer, { state, reason, lacking }: Standings): void {
    const { store, meshId, log, tell } = this.#options
    const lag = lagOf(store, meshId, lacking, this.#seen().wallMs)
    const fields = { ...partsOf(pattern), peerId, name: this.#nameOf(peerId), state, reason, lag }
    log[state === 'current' ? 'info' : 'warn']('replication', fields)
    tell('replication', fields)
  }

  #named(peerId: string): string {
    const name = this.#nameOf(peerId)
    return name === '' ? peerId : `${name} (${peerId})`
  }

  /** A gateway that greets may have another name than when it was asked for last. */
  heard(peerId: string, name: string): void {
    if (this.#names.has(peerId)) this.#names.set(peerId, name)
  }

  /** Asked for every few seconds, and found by reading all members. */
  #nameOf(peerId: string): string {
    const name = this.#names.get(peerId) ?? this.#options.nameOf(peerId)
    if (name !== '') this.#names.set(peerId, name)
    return name
  }

  #find(pattern: string, peerId: string): Transfer | undefined {
    return this.#transfers.find((transfer) => transfer.pattern === pattern && transfer.peerId === peerId)
  }

  #progressOf(transfer: Transfer): TransferProgress {
    const known = this.#progress.get(transfer)
    if (known) return known
    const progress = new TransferProgress()
    this.#progress.set(transfer, progress)
    return progress
  }

  #seen(): Seen {
    return { atMs: this.#options.monotonicMs(), wallMs: Math.round(this.#options.driver().time.wallMs) }
  }

  /** Resolves when they are on the disk. They count at once, for what is saved meanwhile must hold them. */
  async #keep(transfers: Transfer[]): Promise<void> {
    const before = this.#transfers
    this.#transfers = transfers
    try {
      await this.#options.store.append({ batches: [], records: [transfersRecord(transfers)] })
    } catch (error) {
      this.#transfers = before
      throw error
    }
    this.#options.onSought()
  }

  /** One change of the transfers after the other. */
  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const changed = this.#changing.then(change)
    this.#changing = changed.catch(() => {})
    return changed
  }

  /** What a crash loses of it is a figure. */
  #save(): void {
    this.#savedMs = this.#options.monotonicMs()
    this.#options.store
      .append({ batches: [], records: [transfersRecord(this.#transfers)] })
      .catch((error: unknown) => this.#options.log.warn('replication-not-kept', { message: sentenceOf(error) }))
  }
}

function commandOf({ pattern, peerId }: Transfer): string {
  const { collection, partition } = partsOf(pattern)
  return `marram replicate ${shellWord(collection)}${partition === null ? '' : ` --partition ${shellWord(partition)}`} --to ${peerId}`
}
