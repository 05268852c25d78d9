/**
 * Who can be reached over links that are up, by what gateways say of theirs: a link counts when both its ends tell of it. Records
 * come by the thousand when a large mesh forms, and few of them change who is reached, so that is found anew only for those.
 */
export class Reach {
  /** Whether there may be a way over it: a member, and not this gateway. */
  readonly #isOther: (peerId: string) => boolean
  readonly #neighbours = new Set<string>()
  /** Few each: they are looked through as fast as a set would be. */
  readonly #linksOf = new Map<string, readonly string[]>()
  #reachable: Set<string> | null = null

  constructor(isOther: (peerId: string) => boolean) {
    this.#isOther = isOther
  }

  linkUp(peerId: string): void {
    this.#neighbours.add(peerId)
    if (this.#reachable !== null) this.#spread(this.#reachable, peerId)
  }

  linkDown(peerId: string): void {
    if (this.#neighbours.delete(peerId)) this.#reachable = null
  }

  /** Whom a gateway says to be linked with. */
  tell(peerId: string, links: readonly string[]): void {
    const before = this.#linksOf.get(peerId)
    this.#linksOf.set(peerId, links)
    if (this.#reachable === null) return
    if (before !== undefined && this.#isParted(this.#reachable, peerId, before, links)) this.#reachable = null
    else this.#join(this.#reachable, peerId, links)
  }

  /** What it said counts no more. */
  leave(peerId: string): void {
    if (this.#linksOf.delete(peerId)) this.#reachable = null
  }

  /** Who belongs to the mesh may have changed. */
  forget(): void {
    this.#reachable = null
  }

  /** Those to whom there is a way; this gateway is not among them. */
  all(): ReadonlySet<string> {
    this.#reachable ??= this.#allWithout(null)
    return this.#reachable
  }

  /** Whether a neighbour would still be reached when its link with us went. */
  isSpare(peerId: string): boolean {
    return this.#allWithout(peerId).has(peerId)
  }

  /** Whether a link has gone without which there may be no way to one of its ends. */
  #isParted(
    reachable: ReadonlySet<string>,
    peerId: string,
    before: readonly string[],
    now: readonly string[],
  ): boolean {
    if (!reachable.has(peerId)) return false
    for (const other of before) {
      const isGone = !now.includes(other) && reachable.has(other) && this.#tellsOf(other, peerId)
      if (isGone && !this.#areJoined(reachable, peerId, other)) return true
    }
    return false
  }

  /** Whoever is reached now over the links of one gateway is added. */
  #join(reachable: Set<string>, peerId: string, links: readonly string[]): void {
    const isAble = reachable.has(peerId) || this.#isOther(peerId)
    for (const other of isAble ? links : []) {
      if (reachable.has(other) === reachable.has(peerId) || !this.#tellsOf(other, peerId)) continue
      const next = reachable.has(peerId) ? other : peerId
      if (this.#isOther(next)) this.#spread(reachable, next)
    }
  }

  #tellsOf(peerId: string, other: string): boolean {
    return this.#linksOf.get(peerId)?.includes(other) === true
  }

  /** Whether there is a way between the two among those that were reached: looked for from both ends, it is soon found. */
  #areJoined(reachable: ReadonlySet<string>, a: string, b: string): boolean {
    let [near, far] = [new Set([a]), new Set([b])]
    let [edge, farEdge] = [[a], [b]]
    while (edge.length > 0) {
      const next: string[] = []
      for (const peerId of edge) {
        for (const step of this.#linksOf.get(peerId) ?? []) {
          if (near.has(step) || !reachable.has(step) || !this.#tellsOf(step, peerId)) continue
          if (far.has(step)) return true
          near.add(step)
          next.push(step)
        }
      }
      ;[near, far] = [far, near]
      ;[edge, farEdge] = [farEdge, next]
    }
    return false
  }

  #allWithout(left: string | null): Set<string> {
    const found = new Set<string>()
    for (const peerId of this.#neighbours) if (peerId !== left) this.#spread(found, peerId)
    return found
  }

  /** Adds a gateway and whomever it reaches. */
  #spread(found: Set<string>, from: string): void {
    if (found.has(from)) return
    found.add(from)
    const open = [from]
    for (let peerId = open.pop(); peerId !== undefined; peerId = open.pop()) {
      for (const next of this.#linksOf.get(peerId) ?? []) {
        if (found.has(next) || !this.#tellsOf(next, peerId) || !this.#isOther(next)) continue
        found.add(next)
        open.push(next)
      }
    }
  }
}
