import { hex } from '../base/bytes.ts'
import type { Feed } from '../model/batch.ts'
import type { SignedCheckpoint } from '../model/checkpoint.ts'
import { SequenceSet } from '../model/sequences.ts'

/**
 * What a gateway holds of a feed's past (protocol D16, D17): which batches, and which of its author's checkpoints. A
 * checkpoint that came along the chain is applied when what its author knew is here too (gating.ts); one that came with a
 * fill has let the feed jump, and is the feed's base from then on whether it is applied or not.
 */
export class FeedHistory {
  retained: SequenceSet = new SequenceSet()
  applied: SignedCheckpoint | null = null
  /** The newest that is applied or that the feed jumped by: what the feed is served from. */
  base: SignedCheckpoint | null = null
  /** Newer than the applied one and at or below the head, in order. */
  pending: SignedCheckpoint[] = []
  /** The head before the feed jumped by a base that isn't applied yet. */
  preJump = 0
  /** Of an own feed: bytes that its last compaction left, up to where it had read, and whether there are tombstones. */
  keptBytes = 0
  compactedSeq = 0
  hasTombstones = true
  /** Monotonic time of the last compaction. */
  compactedAt = 0

  /** True while the feed jumped and the checkpoint that it jumped by is not applied. */
  get isJumped(): boolean {
    return this.base !== null && this.base.seq > (this.applied?.seq ?? 0)
  }

  add(checkpoint: SignedCheckpoint): void {
    if (checkpoint.seq <= (this.applied?.seq ?? 0)) return
    if (this.pending.some(({ seq }) => seq === checkpoint.seq)) return
    this.pending.push(checkpoint)
    this.pending.sort((a, b) => a.seq - b.seq)
  }

  jump(checkpoint: SignedCheckpoint, headBefore: number): void {
    if (!this.isJumped) this.preJump = headBefore
    if (checkpoint.seq > (this.base?.seq ?? 0)) this.base = checkpoint
    this.add(checkpoint)
  }

  apply(checkpoint: SignedCheckpoint): void {
    this.applied = checkpoint
    if (checkpoint.seq > (this.base?.seq ?? 0)) this.base = checkpoint
    this.pending = this.pending.filter(({ seq }) => seq > checkpoint.seq)
  }

  clone(): FeedHistory {
    const clone = new FeedHistory()
    return Object.assign(clone, this, { retained: this.retained.clone(), pending: [...this.pending] })
  }

  /** Forgets the checkpoints from `seq` on. */
  cut(seq: number): void {
    this.pending = this.pending.filter((pending) => pending.seq < seq)
    if (this.applied !== null && this.applied.seq >= seq) this.applied = null
    if (this.base !== null && this.base.seq >= seq) this.base = this.applied
  }

  /** What is stored of it: numbers, the sequences of what is pending last. */
  encode(): Uint8Array {
    const { applied, base, preJump, keptBytes, compactedSeq, pending } = this
    const seqs = pending.map(({ seq }) => seq)
    const numbers = [applied?.seq ?? 0, base?.seq ?? 0, preJump, keptBytes, compactedSeq, ...seqs]
    const bytes = new Uint8Array(numbers.length * 8)
    const view = new DataView(bytes.buffer)
    numbers.forEach((number, i) => view.setFloat64(i * 8, number))
    return bytes
  }

  /** `read` gives the checkpoint in the stored batch `seq`; one that is gone or means nothing is left out. */
  decode(bytes: Uint8Array, read: (seq: number) => SignedCheckpoint | null): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const numbers = Array.from({ length: bytes.length >> 3 }, (_, i) => view.getFloat64(i * 8))
    const [applied = 0, base = 0, preJump = 0, keptBytes = 0, compactedSeq = 0, ...pending] = numbers
    this.applied = applied > 0 ? read(applied) : null
    this.base = base > 0 ? read(base) : null
    this.preJump = preJump
    this.keptBytes = keptBytes
    this.compactedSeq = compactedSeq
    for (const seq of pending) {
      const checkpoint = read(seq)
      if (checkpoint !== null) this.add(checkpoint)
    }
  }
}

export function historyKey(feed: Feed): string {
  return `sync/history/${hex(feed.id)}`
}
