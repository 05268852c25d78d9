import type { Hlc } from '../model/stamp.ts'
import { decodeDeterministic, encodeDeterministic, type Item } from '../wire/deterministic.ts'

/** Kept until nothing waits to be written again. */
export const REMADE_KEY = 'sync/reissuing'

/** When something was written: in which order, and before which stamp, for its own may have been ahead of the time. */
export interface Age {
  readonly order: Hlc
  readonly before: Hlc
}

/** Stamps from the first to the last, and how old the latest is that was made again under them. */
type Run = readonly [first: Hlc, last: Hlc, order: Hlc, before: Hlc]

/**
 * Under which stamps voided writes were made again (reissuing.ts), in runs in which users wrote nothing: what is made again later has to find
 * its place among them, and so has what was made again and became void itself. A run ends where something was left out that has to wait.
 */
export class Remade {
  #runs: readonly Run[]
  #isOpen = false

  constructor(record: Uint8Array | undefined) {
    const item = record === undefined ? null : decodeDeterministic(record)
    const runs = item?.ok === true && Array.isArray(item.value) ? (item.value as Item[]) : []
    this.#runs = runs.every(isRun) ? runs : []
  }

  get isEmpty(): boolean {
    return this.#runs.length === 0
  }

  /** How old the latest is that was made again with what has that stamp; null when it wasn't made again. */
  ageAt(hlc: Hlc): Age | null {
    const run = this.#runs.find(([first, last]) => hlc >= first && hlc <= last)
    return run === undefined ? null : { order: run[2], before: run[3] }
  }

  /** As it is stored when something is made again under `hlc`. */
  with(hlc: Hlc, age: Age): Uint8Array {
    return encodeDeterministic(this.#with(hlc, age))
  }

  add(hlc: Hlc, age: Age): void {
    this.#runs = this.#with(hlc, age)
    this.#isOpen = true
  }

  /** Something waits that was written before what comes next. */
  leaveOut(): void {
    this.#isOpen = false
  }

  #with(hlc: Hlc, { order, before }: Age): readonly Run[] {
    const open = this.#isOpen ? this.#runs.at(-1) : undefined
    return [...(open ? this.#runs.slice(0, -1) : this.#runs), [open?.[0] ?? hlc, hlc, order, before]]
  }
}

/** Whether something was written later than the other, or with it. What was stamped ahead of the time was written before that was put right. */
export function isAsLate(age: Age, than: Age): boolean {
  return age.order >= than.order || writtenBefore(age) > than.before
}

/** The stamp before which, or at which, it was written. */
export function writtenBefore({ order, before }: Age): Hlc {
  return Math.min(order, before)
}

function isRun(item: Item): item is Run {
  return Array.isArray(item) && item.length === 4 && item.every((hlc) => typeof hlc === 'number')
}
