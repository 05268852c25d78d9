import { hex } from '../base/bytes.ts'
import type { Feed } from '../model/batch.ts'
import { deadUnder, type SignedCheckpoint } from '../model/checkpoint.ts'
import { SequenceSet } from '../model/sequences.ts'

/**
 * What a gateway holds of a feed's past (protocol D16, D17): which batches, and which of its author's checkpoints. A
 * checkpoint that came along the chain is applied when what its author knew is here too (gating.ts); one that came with a
 * fill has let the feed jump, and is the feed's base from then on whether it is applied or not.
 */
export class FeedHistory {
  retained: SequenceSet = new SequenceSet()
  /** Null when none is, and when the batch that carries it was found damaged and has not come again: its sequence stays known. */
  applied: SignedCheckpoint | null = null
  appliedSeq = 0
  /** The newest that is applied or that the feed jumped by: what the feed is served from. */
  base: SignedCheckpoint | null = null
  baseSeq = 0
  /** Newer than the applied one and at or below the head, in order. */
  pending: SignedCheckpoint[] = []
  /** The sequences of others like these, whose batches were found damaged and have not come again. */
  damaged: readonly number[] = []
  /** What this checkpoint and earlier ones declared dead may have left the log, or never come, before all had confirmed that. */
  leftBy = 0
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
    return this.baseSeq > this.appliedSeq
  }

  /** The checkpoints that the rest goes by were damaged and have not come again. */
  get lost(): SequenceSet {
    const lost = new SequenceSet()
    if (this.applied === null && this.appliedSeq > 0) lost.add(this.appliedSeq)
    if (this.base === null && this.baseSeq > 0) lost.add(this.baseSeq)
    return lost
  }

  /** The newest checkpoint at or below `seq` that is pending, whether it can be read or not; else the applied one, or 0. */
  newestUpTo(seq: number): number {
    const pending = [...this.pending.map((signed) => signed.seq), ...this.damaged]
    return Math.max(this.appliedSeq, ...pending.filter((one) => one <= seq))
  }

  add(checkpoint: SignedCheckpoint): void {
    if (checkpoint.seq === this.appliedSeq) this.applied = checkpoint
    if (checkpoint.seq === this.baseSeq) this.base = checkpoint
    this.damaged = this.damaged.filter((seq) => seq !== checkpoint.seq)
    if (checkpoint.seq <= this.appliedSeq) return
    if (this.pending.some(({ seq }) => seq === checkpoint.seq)) return
    this.pending.push(checkpoint)
    this.pending.sort((a, b) => a.seq - b.seq)
  }

  jump(checkpoint: SignedCheckpoint, headBefore: number): void {
    if (!this.isJumped) this.preJump = headBefore
    this.#rise(checkpoint)
    this.leftBy = Math.max(this.leftBy, checkpoint.seq)
    this.add(checkpoint)
  }

  apply(checkpoint: SignedCheckpoint): void {
    this.preJump = Math.max(this.preJump, this.#lastLeftBehind(checkpoint.seq))
    this.applied = checkpoint
    this.appliedSeq = checkpoint.seq
    this.#rise(checkpoint)
    this.pending = this.pending.filter(({ seq }) => seq > checkpoint.seq)
    this.damaged = this.damaged.filter((seq) => seq > checkpoint.seq)
  }

  /** Of several jumps that end with this checkpoint, the last of what it had before. */
  #lastLeftBehind(seq: number): number {
    if (this.base === null || !this.isJumped || seq < this.baseSeq) return 0
    return deadUnder(this.base.checkpoint, this.retained).last
  }

  #rise(checkpoint: SignedCheckpoint): void {
    if (checkpoint.seq <= this.baseSeq) return
    this.base = checkpoint
    this.baseSeq = checkpoint.seq
  }

  clone(): FeedHistory {
    const clone = new FeedHistory()
    return Object.assign(clone, this, { retained: this.retained.clone(), pending: [...this.pending] })
  }

  /** Forgets the checkpoints from `seq` on. */
  cut(seq: number): void {
    this.pending = this.pending.filter((pending) => pending.seq < seq)
    this.damaged = this.damaged.filter((damaged) => damaged < seq)
    if (this.appliedSeq >= seq) {
      this.applied = null
      this.appliedSeq = 0
    }
    if (this.baseSeq >= seq) {
      this.base = this.applied
      this.baseSeq = this.appliedSeq
    }
  }

  /** What is stored of it: numbers, the sequences of what is pending last. */
  encode(): Uint8Array {
    const { appliedSeq, baseSeq, preJump, keptBytes, compactedSeq, pending, damaged } = this
    const seqs = [...pending.map(({ seq }) => seq), ...damaged].sort((a, b) => a - b)
    const numbers = [appliedSeq, baseSeq, preJump, keptBytes, compactedSeq, ...seqs]
    const bytes = new Uint8Array(numbers.length * 8)
    const view = new DataView(bytes.buffer)
    numbers.forEach((number, i) => view.setFloat64(i * 8, number))
    return bytes
  }

  /** `read` gives the checkpoint in the stored batch `seq`; one that is gone comes again as a hole is filled. */
  decode(bytes: Uint8Array, read: (seq: number) => SignedCheckpoint | null): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const numbers = Array.from({ length: bytes.length >> 3 }, (_, i) => view.getFloat64(i * 8))
    const [appliedSeq = 0, baseSeq = 0, preJump = 0, keptBytes = 0, compactedSeq = 0, ...pending] = numbers
    this.appliedSeq = appliedSeq
    this.baseSeq = baseSeq
    this.applied = appliedSeq > 0 ? read(appliedSeq) : null
    this.base = baseSeq > 0 ? read(baseSeq) : null
    // Why something has left is not stored.
    this.leftBy = Math.max(appliedSeq, baseSeq)
    this.preJump = preJump
    this.keptBytes = keptBytes
    this.compactedSeq = compactedSeq
    // A damaged record may hold thousands of them: they are put in order once.
    const found: SignedCheckpoint[] = []
    const gone: number[] = []
    for (const seq of new Set(pending)) {
      const checkpoint = read(seq)
      if (checkpoint === null) gone.push(seq)
      else if (checkpoint.seq > appliedSeq) found.push(checkpoint)
    }
    this.pending = found.sort((a, b) => a.seq - b.seq)
    this.damaged = gone
  }
}

export function historyKey(feed: Feed): string {
  return `sync/history/${hex(feed.id)}`
}
