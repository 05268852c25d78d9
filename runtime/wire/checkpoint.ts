import { equal } from '../base/bytes.ts'
import { fail, ok, type Result } from '../base/result.ts'
import { sha256 } from '../crypto/hash.ts'
import type { BatchHeader } from '../model/batch.ts'
import { FLAG_CHECKPOINT, type Checkpoint, type Held } from '../model/checkpoint.ts'
import { SequenceSet } from '../model/sequences.ts'
import { decodeDeterministic, encodeDeterministic, type Item } from './deterministic.ts'

/**
 * The body of a checkpoint (protocol D16), never compressed nor encrypted, so that relays can prune too:
 * `{1: floor, 2: [gap, length, …], 3: root, 4: [hash, hlc], 5: [[feed, seq, hash8]…], 6: drops tombstones}`. A run of live
 * batches is its distance from the one before and its length, both at least 1; 4 belongs to the batch below the floor.
 */
export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const { floor, live, root, before, deps, dropsTombstones } = checkpoint
  const runs: number[] = []
  let last = 0
  for (let i = 0; i < live.runs.length; i += 2) {
    const [from, to] = [live.runs[i] as number, live.runs[i + 1] as number]
    runs.push(from - last, to - from + 1)
    last = to
  }
  return encodeDeterministic(
    new Map<number, Item>([
      [1, floor],
      [2, runs],
      [3, root],
      [4, [before.hash, before.hlc]],
      [5, deps.map(({ feedId, seq, hash8 }) => [feedId, seq, hash8])],
      [6, dropsTombstones],
    ]),
  )
}

export function isCheckpoint(header: BatchHeader): boolean {
  return (header.flags & FLAG_CHECKPOINT) !== 0
}

/** Fails for a body that isn't the one that was signed, or that says what no author may: then the batch means nothing. */
export function decodeCheckpoint(header: BatchHeader, body: Uint8Array): Result<Checkpoint> {
  if (body.length !== header.bodyLength || !equal(sha256(body), header.bodyHash)) return malformed('its body')
  const item = decodeDeterministic(body)
  if (!item.ok) return item
  if (!(item.value instanceof Map)) return malformed('its body')
  const map = item.value as ReadonlyMap<number, Item>
  const [floor, runs, root, before, deps, drops] = [1, 2, 3, 4, 5, 6].map((key) => map.get(key))
  if (!isCount(floor) || floor < 1 || floor > header.seq) return malformed('its floor')
  if (!isBytes(root, 32)) return malformed('its root')
  const [hash, hlc] = Array.isArray(before) ? (before as Item[]) : []
  if (!isBytes(hash, 32) || !isCount(hlc) || hlc >= header.hlc) return malformed('its place')
  const live = liveOf(runs, floor)
  const held = Array.isArray(deps) ? (deps as Item[]).map(heldOf) : []
  if (live === null) return malformed('its live batches')
  if (!Array.isArray(deps) || held.includes(null)) return malformed('its dependencies')
  return ok({
    floor,
    live,
    root: root.slice(),
    before: { seq: floor - 1, hash: hash.slice(), hlc },
    deps: held as Held[],
    dropsTombstones: drops === true,
  })
}

/** What a checkpoint's root must be. */
export function rootOf(hashes: readonly Uint8Array[]): Uint8Array {
  return sha256(Buffer.concat(hashes))
}

function liveOf(runs: Item | undefined, floor: number): SequenceSet | null {
  if (!Array.isArray(runs) || runs.length % 2 !== 0) return null
  const set: number[] = []
  let last = 0
  for (let i = 0; i < runs.length; i += 2) {
    const [gap, length] = [runs[i] as Item, runs[i + 1] as Item]
    // Runs that touch are one run: the first may begin at 1, the others leave something out.
    if (!isCount(gap) || !isCount(length) || gap < (i === 0 ? 1 : 2) || length < 1) return null
    const from = last + gap
    last = from + length - 1
    if (last >= floor) return null
    set.push(from, last)
  }
  return new SequenceSet(set)
}

function heldOf(item: Item): Held | null {
  const [feedId, seq, hash8] = Array.isArray(item) ? (item as Item[]) : []
  if (!isBytes(feedId, 16) || !isCount(seq) || seq < 1 || !isBytes(hash8, 8)) return null
  return { feedId: feedId.slice(), seq, hash8: hash8.slice() }
}

function isBytes(item: Item | undefined, length: number): item is Uint8Array {
  return item instanceof Uint8Array && item.length === length
}

function isCount(item: Item | undefined): item is number {
  return typeof item === 'number' && item >= 0
}

function malformed(what: string): Result<never> {
  return fail('bad-request', `the checkpoint is malformed: ${what}`)
}
