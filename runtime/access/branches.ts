import type { Asked } from './seals.ts'

/**
 * What all have confirmed of a feed that forked (protocol D20): a pure function of what members say to hold of it, so it is
 * the same wherever the same statements have arrived, whatever a gateway holds itself.
 */

/** A batch as a member names it: its sequence, the first 8 bytes of its hash in hex, and its stamp where that is said. */
export interface Named {
  readonly seq: number
  readonly hash8: string
  readonly hlc: number | null
}

/** Batches of one branch, in order; some may be left out. */
export type Chain = readonly Named[]

/** Up to where a feed is settled, and on which branch: the hash by sequence, as far as it is said. */
export interface Settlement {
  readonly seq: number
  readonly branch: ReadonlyMap<number, string>
}

/**
 * The last batch that everyone asked has confirmed on one branch, and that branch. Below `fork` there is but one. Of two
 * branches confirmed as far, the one with the lesser hash counts, there or else at its end.
 */
export function settlementOf(
  fork: number,
  statements: ReadonlyMap<string, readonly Chain[]>,
  asked: readonly Asked[],
): Settlement {
  const parents = parentsOf([...statements.values()].flat())
  const candidates = leavesOf(parents).map((leaf): Candidate => {
    const names = ancestorsOf(parents, leaf)
    const branch = unambiguous(names)
    const seq = Math.min(...asked.map((one) => coverage(fork, parents, branch, statements.get(one.origin) ?? [], one)))
    const from = Math.min(...[...names.values()].map((named) => named.seq))
    return { seq, from, branch, name: `${lastTo(branch, seq)} ${leaf}` }
  })
  const [best, ...others] = candidates.sort((a, b) => b.seq - a.seq || (a.name < b.name ? -1 : 1))
  if (best === undefined || best.seq < fork || !Number.isFinite(best.seq))
    return { seq: Math.min(fork - 1, commonTo(fork, statements, asked)), branch: new Map() }
  return { seq: best.seq, branch: hashesUpTo(ledTo(best, others), best.seq) }
}

/** A branch that somebody names, from where on, up to where everyone asked has confirmed it, and what it is called there and at its end. */
interface Candidate {
  readonly seq: number
  readonly from: number
  readonly branch: Names
  readonly name: string
}

/**
 * Who acknowledges a batch may say nothing of what leads to it, and nobody else need have it, for it may not even be: then the next best branch
 * that doesn't contradict it does. Else each would keep the one that it holds.
 */
function ledTo(best: Candidate, others: readonly Candidate[]): Names {
  const names = new Map(best.branch)
  let { from } = best
  for (const other of others) {
    const ofOther = [...other.branch]
    const isOther = ofOther.some(([name, { seq }]) => seq >= from && seq <= best.seq && !names.has(name))
    if (other.from >= from || isOther) continue
    for (const [name, named] of ofOther) if (named.seq < from) names.set(name, named)
    from = other.from
  }
  return names
}

type Names = ReadonlyMap<string, Named>
/** A batch, those that some chain names before it, and once it was asked for all that lead to it. */
interface Parent {
  named: Named
  readonly before: Set<Named>
  ancestors: Names | null
}
/** By name. */
type Parents = ReadonlyMap<string, Parent>

function nameOf({ seq, hash8 }: Named): string {
  return `${seq} ${hash8}`
}

function parentsOf(chains: readonly Chain[]): Parents {
  const parents = new Map<string, Parent>()
  for (const chain of chains) {
    chain.forEach((named, i) => {
      const name = nameOf(named)
      const known = parents.get(name) ?? { named, before: new Set<Named>(), ancestors: null }
      // Who lies may say another stamp: the greatest counts, by which the fewest are spared from confirming it.
      if (named.hlc !== null && named.hlc > (known.named.hlc ?? Number.NEGATIVE_INFINITY)) known.named = named
      parents.set(name, known)
      const before = chain[i - 1]
      if (before !== undefined) known.before.add(before)
    })
  }
  return parents
}

function leavesOf(parents: Parents): string[] {
  const inner = new Set([...parents.values()].flatMap(({ before }) => [...before].map(nameOf)))
  return [...parents.keys()].filter((name) => !inner.has(name))
}

/** A batch and all that lead to it, by name. */
function ancestorsOf(parents: Parents, leaf: string): Names {
  const end = parents.get(leaf)
  if (end === undefined) return new Map()
  end.ancestors ??= walk(parents, leaf)
  return end.ancestors
}

function walk(parents: Parents, leaf: string): Names {
  const found = new Map<string, Named>()
  const open = [leaf]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const known = parents.get(name)
    if (known === undefined || found.has(name)) continue
    found.set(name, known.named)
    for (const before of known.before) open.push(nameOf(before))
  }
  return found
}

/** Up to where one of those asked has confirmed a branch. */
function coverage(
  fork: number,
  parents: Parents,
  branch: Names,
  chains: readonly Chain[],
  { since, below }: Asked,
): number {
  let covered = Math.max(below, Math.min(fork - 1, lastSaid(chains)))
  // Of what was written before its admission nobody asks it.
  for (const { seq, hlc } of branch.values()) if (hlc !== null && hlc <= since) covered = Math.max(covered, seq)
  for (const chain of chains) {
    const top = chain.at(-1)
    if (top === undefined) continue
    for (const [name, { seq }] of ancestorsOf(parents, nameOf(top))) {
      if (seq > covered && branch.has(name)) covered = seq
    }
  }
  return covered
}

/** Up to where everyone asked has confirmed what is before the fork. */
function commonTo(fork: number, statements: ReadonlyMap<string, readonly Chain[]>, asked: readonly Asked[]): number {
  if (asked.length === 0) return 0
  return Math.min(
    fork - 1,
    ...asked.map(({ origin, below }) => Math.max(below, lastSaid(statements.get(origin) ?? []))),
  )
}

function lastSaid(chains: readonly Chain[]): number {
  return Math.max(0, ...chains.map((chain) => chain.at(-1)?.seq ?? 0))
}

/**
 * Of one sequence there is but one batch that leads to the last: where two are named somebody errs or lies, and neither counts. Nor has anybody
 * confirmed one of them: what is settled must be the same batch for all.
 */
function unambiguous(branch: Names): Names {
  const times = new Map<number, number>()
  for (const { seq } of branch.values()) times.set(seq, (times.get(seq) ?? 0) + 1)
  return new Map([...branch].filter(([, { seq }]) => times.get(seq) === 1))
}

function hashesUpTo(branch: Names, to: number): Map<number, string> {
  const named = [...branch.values()].filter(({ seq }) => seq <= to).sort((a, b) => a.seq - b.seq)
  return new Map(named.map(({ seq, hash8 }) => [seq, hash8]))
}

function lastTo(branch: Names, to: number): string {
  return [...hashesUpTo(branch, to).values()].at(-1) ?? ''
}
