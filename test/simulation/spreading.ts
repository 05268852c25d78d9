import { latin1 } from '../../runtime/base/bytes.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { feedIdOfBatch, seqOfBatch } from '../../runtime/wire/batch.ts'
import { isCheckpoint } from '../../runtime/wire/checkpoint.ts'
import type { SimulatedGateway } from './gateway.ts'
import type { Promises } from './promises.ts'

/** One end of a link in one session: what went out of it and came to it. */
interface End {
  /** Batches by name, and how often the neighbour had asked for anything when they went, or came. */
  readonly sent: Map<string, number>
  readonly received: Map<string, number>
  asked: number
  /** What it has asked for by number, and has not been sent. */
  readonly named: SequenceSet
  sentBytes: number
  credit: number
}

interface FeedCount {
  copies: number
  expected: number
  isDeferred: boolean
}

/** What came to some gateways while it was counted. */
interface Count {
  readonly at: ReadonlySet<SimulatedGateway>
  readonly firsts: Set<string>
  /** By gateway and feed, the copies that came, and those that a tree may bring: one, or two where there are two parents. */
  readonly feeds: Map<string, FeedCount>
  /** Whenever a feed gets another parent it may come twice. */
  asked: number
}

/**
 * Watches how batches spread. All along: a batch goes over a link once, and not back where it came from, unless its receiver asks
 * again (SPEC I21), and no more than the receiver has credit for (SPEC I24). When the mesh is at rest: what comes is what was lacking
 * but for a tenth (SPEC I22), and for what a change of a parent brings twice (SPEC I11).
 */
export class Spreading {
  readonly #ends = new Map<number, End>()
  readonly #isPressing: (collection: string) => boolean
  #count: Count | null = null

  constructor(isPressing: (collection: string) => boolean) {
    this.#isPressing = isPressing
  }

  /** A frame goes out of the end `link`. Returns sentences about what may not be. */
  sent(from: SimulatedGateway, link: number, { batches }: Promises): string[] {
    const end = this.#end(link)
    const found: string[] = []
    for (const bytes of batches) {
      const name = nameOf(bytes)
      const seq = seqOfBatch(bytes)
      const which = `batch ${seq} of a feed over link ${link}`
      if (end.sent.get(name) === end.asked) found.push(`I21 gateway ${from.index} sent ${which} twice`)
      // Two that compare their branches ask each other for the same.
      const isNamed = end.named.has(seq)
      end.named.deleteRange(seq, seq)
      if (end.received.get(name) === end.asked && !isNamed && !isOffer(from, bytes))
        found.push(`I21 gateway ${from.index} sent ${which} back`)
      end.sent.set(name, end.asked)
      end.sentBytes += bytes.length
    }
    if (batches.length > 0 && end.sentBytes > end.credit) {
      found.push(`I24 gateway ${from.index} sent ${end.sentBytes} bytes over link ${link}, of ${end.credit}`)
    }
    return found
  }

  /** A frame comes to the end `link`. */
  arrived(at: SimulatedGateway, link: number, { batches, wants, named, credit }: Promises): void {
    const end = this.#end(link)
    end.asked += wants
    for (let i = 0; i + 1 < named.length; i += 2) end.named.addRange(named[i] as number, named[i + 1] as number)
    end.credit = Math.max(end.credit, credit)
    const count = this.#count?.at.has(at) === true ? this.#count : null
    if (count) count.asked += wants
    for (const bytes of batches) {
      end.received.set(nameOf(bytes), end.asked)
      if (count) this.#countCopy(count, at, bytes)
    }
  }

  down(link: number): void {
    this.#ends.delete(link)
  }

  /** What comes to these, which are at rest: who is lost may still wait for the time of what was stamped ahead. */
  startCounting(gateways: readonly SimulatedGateway[]): void {
    this.#count = { at: new Set(gateways), firsts: new Set(), feeds: new Map(), asked: 0 }
  }

  /** Returns sentences about what came too often. */
  endCounting(): string[] {
    const count = this.#count
    this.#count = null
    if (!count) return []
    let [copies, expected] = [0, 0]
    for (const feed of count.feeds.values()) {
      if (feed.isDeferred) continue
      copies += feed.copies
      expected += feed.expected
    }
    if (copies <= expected * 1.1 + count.asked) return []
    return [`I22 of ${count.firsts.size} batches there came ${copies} copies, ${count.asked} requests`]
  }

  /** What waits for its time is not at rest: what follows it comes with it, and again when that time has come. */
  deferred(at: SimulatedGateway, feedKey: string): void {
    if (this.#count) ofFeed(this.#count, at, feedKey).isDeferred = true
  }

  #countCopy(count: Count, at: SimulatedGateway, bytes: Uint8Array): void {
    const feedKey = latin1(feedIdOfBatch(bytes))
    const ofThis = ofFeed(count, at, feedKey)
    ofThis.copies += 1
    const name = `${at.index} ${nameOf(bytes)}`
    if (count.firsts.has(name)) return
    count.firsts.add(name)
    const feed = at.disk.feeds.get(feedKey)?.feed
    ofThis.expected += feed && this.#isPressing(feed.descriptor.collection) ? 2 : 1
  }

  #end(link: number): End {
    const known = this.#ends.get(link)
    if (known) return known
    const end: End = {
      sent: new Map(),
      received: new Map(),
      asked: 0,
      named: new SequenceSet(),
      sentBytes: 0,
      credit: 0,
    }
    this.#ends.set(link, end)
    return end
  }
}

function ofFeed({ feeds }: Count, { index }: SimulatedGateway, feedKey: string): FeedCount {
  const name = `${index} ${feedKey}`
  const known = feeds.get(name) ?? { copies: 0, expected: 0, isDeferred: false }
  feeds.set(name, known)
  return known
}

/** Who offers a checkpoint need not have come as far itself (heldBySender in runtime/sync/arriving.ts): it may still be lacking it. */
function isOffer({ disk }: SimulatedGateway, bytes: Uint8Array): boolean {
  const stored = disk.batch(latin1(feedIdOfBatch(bytes)), seqOfBatch(bytes))
  return stored !== undefined && isCheckpoint(stored.header)
}

/** Of two branches of a feed batches with the same sequence have other bytes: FNV-1a tells them apart. */
function nameOf(bytes: Uint8Array): string {
  let hash = 0x811c9dc5
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193)
  return `${latin1(feedIdOfBatch(bytes))} ${seqOfBatch(bytes)} ${hash}`
}
