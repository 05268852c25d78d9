import type { Document } from '../model/document.ts'
import type { Space } from '../ports/store.ts'
import { contributionOf, exchange } from './digest.ts'
import { compareUtf8 } from './order.ts'

/** A document in the memory table. */
export interface Entry {
  readonly space: SpaceTable
  readonly key: string
  readonly document: Document
  /** Estimate of what it takes in memory. */
  bytes: number
  /** What its space's count and digest include of it now, and what those in LMDB do: 0 when it isn't live there. */
  contribution: bigint
  contributionInBase: bigint
  /** Whether the space's count includes it. */
  isCounted: boolean
  /** `contribution` is of an earlier content. */
  isStale: boolean
  /** Differs from LMDB: to be swept. */
  isDirty: boolean
  /** A sweep under way is writing it. */
  isSweeping: boolean
  isInBase: boolean
  /** What it links to, while it differs from LMDB; and the rows that LMDB has of it, or is about to (see links.ts). */
  links: readonly string[]
  linksInBase: readonly string[]
  /** The last merge that changed it: tells whether this one has before. */
  mergedIn: number
}

/** Live documents and the sum of their contributions. */
export interface Summary {
  count: number
  digest: bigint
}

/** The documents of one collection and partition that are in memory, and what is known of all of them. */
export class SpaceTable implements Space {
  readonly collection: string
  readonly partition: string
  readonly isSeries: boolean
  readonly isEncrypted: boolean
  /** From 1: stands for the space in LMDB's keys. */
  readonly number: number
  readonly entries: Map<string, Entry> = new Map()
  /** Keys of documents whose bytes have changed on the disk: nobody reads them until they are derived anew. */
  readonly damaged: Set<string> = new Set()
  /** Something was written in it. */
  isWritten = false
  isInBase: boolean
  /** As it is now, but for the contributions of `stale`. */
  readonly #summary: Summary
  /** That of exactly the documents in LMDB. */
  readonly summaryInBase: Summary
  readonly #stale = new Set<Entry>()
  /** A reading of all documents under way: what those up to `to` sum up to as they are now. */
  #audit: { to: string | null; digest: bigint } | null = null
  /** Keys that LMDB does not have yet; sorted when somebody asks. */
  #freshKeys: string[] = []
  #isSorted = true

  constructor(space: Space, number: number, inBase: Summary | null) {
    this.collection = space.collection
    this.partition = space.partition
    this.isSeries = space.isSeries === true
    this.isEncrypted = space.isEncrypted === true
    this.number = number
    this.isInBase = inBase !== null
    this.isWritten = this.isInBase
    this.#summary = { count: inBase?.count ?? 0, digest: inBase?.digest ?? 0n }
    this.summaryInBase = { ...this.#summary }
  }

  get count(): number {
    return this.#summary.count
  }

  /** Hashes what has changed since it was asked last. */
  get digest(): bigint {
    for (const entry of this.#stale) this.refresh(entry)
    return this.#summary.digest
  }

  /** The document of `entry` has changed. */
  touch(entry: Entry, isLive: boolean): void {
    this.isWritten = true
    if (isLive !== entry.isCounted) {
      this.#summary.count += isLive ? 1 : -1
      entry.isCounted = isLive
    }
    if (!entry.isStale) {
      entry.isStale = true
      this.#stale.add(entry)
    }
  }

  /** Brings the contribution of `entry` up to date. */
  refresh(entry: Entry): void {
    if (!entry.isStale) return
    const contribution = contributionOf(this, entry.key, entry.document)
    this.#summary.digest = exchange(this.#summary.digest, entry.contribution, contribution)
    const { to = null } = this.#audit ?? {}
    if (this.#audit !== null && to !== null && compareUtf8(entry.key, to) <= 0)
      this.#audit.digest = exchange(this.#audit.digest, entry.contribution, contribution)
    entry.contribution = contribution
    entry.isStale = false
    this.#stale.delete(entry)
  }

  beginAudit(): void {
    this.#audit = { to: null, digest: 0n }
  }

  /** The next document in order was read, and adds this. */
  audited(key: string, contribution: bigint): void {
    if (this.#audit === null) return
    this.#audit.digest = exchange(this.#audit.digest, 0n, contribution)
    this.#audit.to = key
  }

  /** True when all documents sum up to the digest; to be asked when the last was read. */
  endAudit(): boolean {
    const { digest } = this
    const isSame = this.#audit?.digest === digest
    this.#audit = null
    return isSame
  }

  /** LMDB is about to hold `entry` as it is now, in the same transaction as `summaryInBase`. */
  settleInBase(entry: Entry): void {
    const { contributionInBase: before, contribution: after } = entry
    const summary = this.summaryInBase
    summary.count += (after === 0n ? 0 : 1) - (before === 0n ? 0 : 1)
    summary.digest = exchange(summary.digest, before, after)
    entry.contributionInBase = after
  }

  /** What a rebuild has found to be true. LMDB's own summary is set so that the next sweep makes it true as well. */
  restate(truth: Summary): void {
    for (const entry of this.#stale) this.refresh(entry)
    const summary = this.summaryInBase
    Object.assign(this.#summary, truth)
    Object.assign(summary, truth)
    for (const entry of this.entries.values()) {
      const { contribution: after, contributionInBase: before } = entry
      summary.count -= (after === 0n ? 0 : 1) - (before === 0n ? 0 : 1)
      summary.digest = exchange(summary.digest, after, before)
    }
  }

  addFresh(key: string): void {
    this.#isSorted &&= this.#freshKeys.length === 0 || compareUtf8(this.#freshKeys.at(-1) as string, key) < 0
    this.#freshKeys.push(key)
  }

  /** Forgets the fresh keys that have become LMDB's. */
  pruneFresh(): void {
    this.#freshKeys = this.#freshKeys.filter((key) => this.entries.get(key)?.isInBase === false)
  }

  /** In the order of their UTF-8 bytes. */
  freshKeys(): readonly string[] {
    if (!this.#isSorted) this.#freshKeys.sort(compareUtf8)
    this.#isSorted = true
    return this.#freshKeys
  }
}
