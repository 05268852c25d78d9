/**
 * A set of sequence numbers as disjoint runs in rising order: what a gateway retains of a feed, what a checkpoint says
 * lives. Numbers are safe integers from 1.
 */
export class SequenceSet {
  /** `#runs[2i]` to `#runs[2i + 1]`, both included; runs never touch. */
  #runs: number[]

  constructor(runs: readonly number[] = []) {
    this.#runs = [...runs]
  }

  static of(seqs: Iterable<number>): SequenceSet {
    const set = new SequenceSet()
    for (const seq of seqs) set.add(seq)
    return set
  }

  static range(from: number, to: number): SequenceSet {
    return new SequenceSet(to < from ? [] : [from, to])
  }

  /** From, to, from, to, … in rising order; to be read, not kept. */
  get runs(): readonly number[] {
    return this.#runs
  }

  get isEmpty(): boolean {
    return this.#runs.length === 0
  }

  get size(): number {
    let size = 0
    for (let i = 0; i < this.#runs.length; i += 2) size += this.#at(i + 1) - this.#at(i) + 1
    return size
  }

  /** The greatest number, 0 when there is none. */
  get last(): number {
    return this.#runs.at(-1) ?? 0
  }

  has(seq: number): boolean {
    const run = this.#find(seq)
    return run < this.#runs.length && this.#at(run) <= seq
  }

  /** The least number that is at least `seq`, or null. */
  next(seq: number): number | null {
    const run = this.#find(seq)
    return run < this.#runs.length ? Math.max(seq, this.#at(run)) : null
  }

  /** The last number of the unbroken run that begins with `seq`; `seq - 1` when it isn't in the set. */
  runEnd(seq: number): number {
    return this.has(seq) ? this.#at(this.#find(seq) + 1) : seq - 1
  }

  add(seq: number): void {
    const { length } = this.#runs
    // Nearly always the next one of all.
    if (length > 0 && this.#at(length - 1) === seq - 1) this.#runs[length - 1] = seq
    else this.addRange(seq, seq)
  }

  addRange(from: number, to: number): void {
    if (to < from) return
    const first = this.#find(from - 1)
    let end = first
    let [low, high] = [from, to]
    while (end < this.#runs.length && this.#at(end) <= to + 1) {
      low = Math.min(low, this.#at(end))
      high = Math.max(high, this.#at(end + 1))
      end += 2
    }
    this.#runs.splice(first, end - first, low, high)
  }

  addAll(seqs: SequenceSet): void {
    for (let i = 0; i < seqs.#runs.length; i += 2) this.addRange(seqs.#at(i), seqs.#at(i + 1))
  }

  deleteRange(from: number, to: number): void {
    if (to < from) return
    const first = this.#find(from)
    const rest: number[] = []
    let end = first
    while (end < this.#runs.length && this.#at(end) <= to) {
      if (this.#at(end) < from) rest.push(this.#at(end), from - 1)
      if (this.#at(end + 1) > to) rest.push(to + 1, this.#at(end + 1))
      end += 2
    }
    this.#runs.splice(first, end - first, ...rest)
  }

  replace(seqs: SequenceSet): void {
    this.#runs = [...seqs.#runs]
  }

  delete(seqs: SequenceSet): void {
    for (let i = 0; i < seqs.#runs.length; i += 2) this.deleteRange(seqs.#at(i), seqs.#at(i + 1))
  }

  /** Those of `from` to `to`; none when `to` is less. */
  within(from: number, to: number): SequenceSet {
    const set = new SequenceSet()
    if (to < from) return set
    for (let i = this.#find(from); i < this.#runs.length && this.#at(i) <= to; i += 2) {
      set.#runs.push(Math.max(from, this.#at(i)), Math.min(to, this.#at(i + 1)))
    }
    return set
  }

  without(other: SequenceSet): SequenceSet {
    const set = this.clone()
    set.delete(other)
    return set
  }

  clone(): SequenceSet {
    return new SequenceSet(this.#runs)
  }

  equals(other: SequenceSet): boolean {
    return this.#runs.length === other.#runs.length && this.#runs.every((seq, i) => seq === other.#runs[i])
  }

  *values(): Generator<number> {
    for (let i = 0; i < this.#runs.length; i += 2) {
      for (let seq = this.#at(i); seq <= this.#at(i + 1); seq++) yield seq
    }
  }

  #at(index: number): number {
    return this.#runs[index] as number
  }

  /** Index of the first run that ends at `seq` or later. */
  #find(seq: number): number {
    let low = 0
    let high = this.#runs.length >> 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#at(middle * 2 + 1) < seq) low = middle + 1
      else high = middle
    }
    return low * 2
  }
}
