import { equal, latin1 } from '../../runtime/base/bytes.ts'
import type { Feed } from '../../runtime/model/batch.ts'
import type { Checkpoint, SignedCheckpoint } from '../../runtime/model/checkpoint.ts'
import type { Place } from '../../runtime/model/interest.ts'
import { isSystemName, placeOf } from '../../runtime/model/names.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import type { EngineView } from '../../runtime/sync/engine.ts'
import { signedCheckpoint } from '../../runtime/sync/filling.ts'
import { FeedHistory, historyKey } from '../../runtime/sync/history.ts'
import { rootOf } from '../../runtime/wire/checkpoint.ts'
import type { DiskFeed, SimulatedDisk } from './disk.ts'
import type { SimulatedGateway } from './gateway.ts'

/** What a gateway holds of feeds' pasts: SPEC I7, I9. Not asked of feeds that are sealed, which go back by right. */

const NONE: Checkpoint = {
  floor: 1,
  live: new SequenceSet(),
  root: new Uint8Array(32),
  before: { seq: 0, hash: new Uint8Array(32), hlc: 0 },
  deps: [],
  dropsTombstones: false,
}

/**
 * I7 at rest: all up to the head is there that the base does not declare dead, and what lives below its floor makes its root. A liar
 * may call live what it had called dead, and what nobody keeps any more.
 */
export function incomplete(gateway: SimulatedGateway, liar?: string): string[] {
  const { index, disk, authority } = gateway
  const found: string[] = []
  for (const held of disk.feeds.values()) {
    const { feed, head, retained } = held
    const { seq } = head
    const isAsked = gateway.keeps(feed) && feed.origin !== liar && authority.sealOf(feed) === Number.POSITIVE_INFINITY
    if (isSystemName(feed.descriptor.collection) || !isAsked) continue
    const base = baseOf(disk, held)?.signed
    if (base === null) {
      found.push(`I7 gateway ${index} has lost the checkpoint that a feed is based on`)
      continue
    }
    const { floor, live, root } = base?.checkpoint ?? NONE
    const expected = base === undefined ? new SequenceSet() : live.clone()
    if (seq >= floor) expected.addRange(floor, seq)
    const lacking = expected.without(retained)
    if (!lacking.isEmpty) found.push(`I7 gateway ${index} lacks ${lacking.runs.join(' ')} of a feed up to ${seq}`)
    else if (base !== undefined && !equal(root, rootOf(hashesOf(disk, feed, live))))
      found.push(`I7 gateway ${index} holds something else below ${floor} than its author says is live`)
  }
  return found
}

function hashesOf(disk: SimulatedDisk, feed: Feed, seqs: SequenceSet): Uint8Array[] {
  return [...seqs.values()].map((seq) => disk.batch(feed.key, seq)?.hash ?? new Uint8Array(32))
}

interface Base {
  readonly seq: number
  /** Null when its batch is not there, or is none. */
  readonly signed: SignedCheckpoint | null
}

/** Undefined when the feed was never compacted, as far as is known here. */
function baseOf(disk: SimulatedDisk, { feed, historyKey }: DiskFeed): Base | undefined {
  const record = disk.getRecord(historyKey)
  if (record === undefined) return undefined
  const seq = new DataView(record.buffer, record.byteOffset).getFloat64(8)
  const batch = disk.batch(feed.key, seq)
  return seq === 0 ? undefined : { seq, signed: batch === undefined ? null : signedCheckpoint(batch) }
}

/** What the disk says of a feed's past. */
export function historyOf(disk: SimulatedDisk, feed: Feed): FeedHistory {
  const history = new FeedHistory()
  history.decode(disk.getRecord(historyKey(feed)) ?? new Uint8Array(), (seq) => {
    const batch = disk.batch(feed.key, seq)
    return batch ? signedCheckpoint(batch) : null
  })
  return history
}

/**
 * Whether a gateway is in a jump there by a checkpoint that relies on what only lost ones have: until these are back neither that can be applied
 * nor what relies on its feed, and each keeps and shows what it had before.
 */
export function waitsForLost(gateways: readonly SimulatedGateway[], place: Place): boolean {
  return gateways.some(({ disk, authority }) => {
    const feeds = [...disk.feeds.values()].map(({ feed }) => feed)
    return feeds.some((feed) => {
      const { isJumped, base } = placeOf(feed.descriptor) === placeOf(place) ? historyOf(disk, feed) : new FeedHistory()
      return (
        isJumped &&
        base?.checkpoint.deps.some((dep) => {
          const key = latin1(dep.feedId)
          const known = feeds.find((other) => other.key === key)
          const isSealed = known !== undefined && authority.sealOf(known) < Number.POSITIVE_INFINITY
          return !isSealed && gateways.every((one) => (one.disk.head(key)?.seq ?? 0) < dep.seq)
        })
      )
    })
  })
}

interface Seen {
  readonly head: number
  readonly base: Base | undefined
}

/** I9 for one gateway: heads, bases and floors never go back, live maps only shrink; nor do its clock and its count of batches. */
export class Progress {
  #disk: SimulatedDisk | null = null
  #boots = 0
  #clock = 0
  #lsn = 0
  readonly #feeds = new Map<string, Seen>()

  /** A feed was cut; `id` in hexadecimal. */
  forget(id: string): void {
    this.#feeds.delete(latin1(Buffer.from(id, 'hex')))
  }

  /** What went back since it was looked at last. What a liar says of its own feeds it may say otherwise. */
  wentBack(gateway: SimulatedGateway, view: EngineView | undefined, liar: string | undefined): string[] {
    const { index, disk, authority } = gateway
    if (this.#disk !== disk) this.#feeds.clear()
    this.#disk = disk
    const found = view === undefined ? [] : this.#engineWentBack(gateway, view)
    for (const held of disk.feeds.values()) {
      const { feed } = held
      const head = held.head.seq
      const before = this.#feeds.get(feed.key)
      this.#feeds.delete(feed.key)
      if (feed.origin === liar || !gateway.keeps(feed) || authority.sealOf(feed) < Number.POSITIVE_INFINITY) continue
      // A place that it has left begins anew when it is kept again.
      if (gateway.hasLeft(`${placeOf(feed.descriptor)}/`)) continue
      const base = baseOf(disk, held)
      const why = before === undefined ? null : faultOf(before, { head, base })
      if (why !== null) found.push(`I9 gateway ${index}: ${why}`)
      // One that rotted away is compared when it is back.
      this.#feeds.set(feed.key, { head, base: base?.signed === null ? before?.base : base })
    }
    return found
  }

  #engineWentBack({ index, boots }: SimulatedGateway, { clock, lsn }: EngineView): string[] {
    const isSame = this.#boots === boots
    const found: string[] = []
    if (isSame && clock < this.#clock) found.push(`I9 gateway ${index}: its clock went from ${this.#clock} to ${clock}`)
    if (isSame && lsn < this.#lsn) found.push(`I9 gateway ${index}: it counted ${this.#lsn} batches and then ${lsn}`)
    this.#boots = boots
    this.#clock = clock
    this.#lsn = lsn
    return found
  }
}

function faultOf(before: Seen, now: Seen): string | null {
  if (now.head < before.head) return `a head went from ${before.head} to ${now.head} without a seal`
  const [old, base] = [before.base, now.base]
  if (old === undefined) return null
  if (base === undefined || base.seq < old.seq) return `a base went from checkpoint ${old.seq} to ${base?.seq ?? 0}`
  const [was, is] = [old.signed?.checkpoint, base.signed?.checkpoint]
  if (was === undefined || is === undefined || was === is) return null
  if (is.floor < was.floor) return `a floor went from ${was.floor} to ${is.floor}`
  const revived = is.live.within(1, was.floor - 1).without(was.live)
  return revived.isEmpty ? null : `batches ${revived.runs.join(' ')} of a feed live again`
}
