/** Virtual time: what happens next, in order of time and then of being planned. A binary heap. */
export class Schedule {
  #heap: { at: number; order: number; run: () => void }[] = []
  #order = 0
  readonly #eventsMax: number
  now = 0
  events = 0

  /** Throws when more happens than `eventsMax`. */
  constructor(eventsMax: number = Number.POSITIVE_INFINITY) {
    this.#eventsMax = eventsMax
  }

  after(delayMs: number, run: () => void): void {
    this.at(this.now + delayMs, run)
  }

  at(time: number, run: () => void): void {
    const heap = this.#heap
    heap.push({ at: Math.max(time, this.now), order: this.#order++, run })
    let child = heap.length - 1
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (!this.#isBefore(child, parent)) break
      this.#swap(child, parent)
      child = parent
    }
  }

  /** Runs everything up to `time`. */
  runUntil(time: number): void {
    while (this.#heap.length > 0 && (this.#heap[0] as { at: number }).at <= time) {
      const next = this.#pop()
      this.now = next.at
      this.events += 1
      if (this.events > this.#eventsMax) throw new Error(`It does not come to rest: ${this.events} events`)
      next.run()
    }
    this.now = Math.max(this.now, time)
  }

  #pop(): { at: number; run: () => void } {
    const heap = this.#heap
    this.#swap(0, heap.length - 1)
    const top = heap.pop() as { at: number; run: () => void }
    let parent = 0
    for (;;) {
      const left = parent * 2 + 1
      if (left >= heap.length) return top
      const child = left + 1 < heap.length && this.#isBefore(left + 1, left) ? left + 1 : left
      if (!this.#isBefore(child, parent)) return top
      this.#swap(child, parent)
      parent = child
    }
  }

  #isBefore(a: number, b: number): boolean {
    const x = this.#heap[a] as { at: number; order: number }
    const y = this.#heap[b] as { at: number; order: number }
    return x.at < y.at || (x.at === y.at && x.order < y.order)
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap
    const held = heap[a] as (typeof heap)[number]
    heap[a] = heap[b] as (typeof heap)[number]
    heap[b] = held
  }
}
