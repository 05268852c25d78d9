import { utf8 } from '../base/bytes.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { Feed, Ops } from '../model/batch.ts'
import type { Rival, Source, Write } from '../model/document.ts'
import { isSystemName } from '../model/names.ts'
import { compareStamps, formatStamp, msOfHlc } from '../model/stamp.ts'
import type { Value } from '../model/value.ts'
import type { Conflict, Space } from '../ports/store.ts'
import type { RecordTable } from './records.ts'

/**
 * Writes of two authors to one field of which neither had seen the other, where so one was lost. What an author wrote over is
 * said in its batch; of what loses we know it only when the winner is this gateway's own, for then it came after that was
 * written. Kept as records that give way to newer ones; where no authors meet, nothing is done.
 */
export const CONFLICTS = 'conflict/'

export class ConflictLog {
  readonly #records: RecordTable
  /** Whether a feed is written here, by this store's incarnation: of those of an earlier one we can't say what came first. */
  isOwn: (feed: Feed) => boolean = () => false
  /** Keys of what is kept, the oldest first; read when the first is added. */
  #kept: string[] | null = null

  constructor(records: RecordTable) {
    this.#records = records
  }

  /** `lsn` and `number` tell conflicts apart, the same after a replay. */
  note(space: Space, rival: Rival, ops: Ops, { hlc, lsn }: Source, number: number): void {
    // What is told again, under an older stamp than its batch's, was weighed when it was told first.
    if (
      rival.write.hlc !== hlc ||
      isSystemName(space.collection) ||
      isSame(rival.held, rival.value) ||
      !this.#isConcurrent(rival, ops)
    )
      return
    const key = `${CONFLICTS}${String(lsn).padStart(15, '0')}.${String(number).padStart(5, '0')}`
    this.#kept ??= this.#records.scan(CONFLICTS).map((record) => record.key)
    if (!this.#kept.includes(key)) this.#kept.push(key)
    this.#records.set(key, utf8(JSON.stringify(conflictOf(space, rival))))
    while (this.#kept.length > GATEWAY_LIMITS.conflictsMax) this.#records.set(this.#kept.shift() as string, null)
  }

  #isConcurrent({ by, write, path, isWon }: Rival, ops: Ops): boolean {
    if (!isWon) return this.isOwn(by.feed)
    const seen = ops.seen?.find((each) => each.op === write.index && each.path === path)
    return seen === undefined || compareStamps(seen.stamp, by) < 0
  }
}

function conflictOf({ collection, partition }: Space, { key, field, held, by, value, write, isWon }: Rival): Conflict {
  const [there, came] = [sideOf(held, by), sideOf(value, write)]
  const [won, lost] = isWon ? [came, there] : [there, came]
  return { collection, partition, key, field, won, lost, why: reasonOf(isWon ? write : by, isWon ? by : write) }
}

function sideOf(value: Value, write: Write): Conflict['won'] {
  const isLarge = JSON.stringify(value).length > GATEWAY_LIMITS.conflictValueLengthMax
  return { value: isLarge ? null : value, author: write.origin, stamp: formatStamp(write), ...(isLarge && { isLarge }) }
}

function reasonOf(won: Write, lost: Write): string {
  const ms = msOfHlc(won.hlc) - msOfHlc(lost.hlc)
  if (ms > 0) return `it was written ${ms} ms later, before its author had seen the other`
  if (won.hlc !== lost.hlc || won.index !== lost.index) return 'it was written later within the same millisecond'
  return 'both have the same time, and its author’s id is the greater'
}

function isSame(a: Value, b: Value): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}
