import { rendezvous } from './rendezvous.ts'

/** A gateway that is alive, as its address record tells of it. */
export interface Node {
  readonly peerId: string
  /** Those that name none are a cell of their own, named ''. */
  readonly cell: string
  readonly isSuperPeer: boolean
  readonly isMetered: boolean
  /** Whether it says where. */
  readonly isDialable: boolean
  /** How many links it says to have. */
  readonly links: number
}

/** Links between cells hang on so many gateways of each. */
const BRIDGES = 2

/**
 * The living gateways by cell, and which of them are bridges: a function of what all know, so that all know it. A cell is
 * a neighbourhood with short ways: within it gateways are linked closely, between two of them by their bridges alone.
 */
export class Cells {
  readonly #nodes: ReadonlyMap<string, Node>
  readonly #members = new Map<string, string[]>()
  readonly #bridges = new Map<string, readonly string[]>()
  readonly #names: readonly string[]

  constructor(nodes: Iterable<Node>) {
    this.#nodes = new Map([...nodes].map((node) => [node.peerId, node]))
    for (const { cell, peerId } of this.#nodes.values()) {
      const members = this.#members.get(cell)
      if (members) members.push(peerId)
      else this.#members.set(cell, [peerId])
    }
    for (const members of this.#members.values()) members.sort()
    this.#names = [...this.#members.keys()].sort()
  }

  get count(): number {
    return this.#names.length
  }

  node(peerId: string): Node | undefined {
    return this.#nodes.get(peerId)
  }

  /** Everyone's peer id. */
  all(): string[] {
    return [...this.#nodes.keys()]
  }

  /** In order of their ids. */
  members(cell: string): readonly string[] {
    return this.#members.get(cell) ?? []
  }

  areMates(a: string, b: string): boolean {
    return this.node(a)?.cell === this.node(b)?.cell
  }

  isBridge(peerId: string): boolean {
    const cell = this.node(peerId)?.cell
    return cell !== undefined && this.count > 1 && this.bridges(cell).includes(peerId)
  }

  /** Super-peers before others, who pays for its bytes or can't be dialled after them; among equals by rendezvous hash. */
  bridges(cell: string): readonly string[] {
    let bridges = this.#bridges.get(cell)
    if (bridges) return bridges
    const ranked = this.members(cell).map((peerId) => ({
      peerId,
      fitness: this.#fitness(peerId),
      hash: rendezvous(cell, peerId),
    }))
    ranked.sort((a, b) => b.fitness - a.fitness || b.hash - a.hash)
    bridges = ranked.slice(0, BRIDGES).map(({ peerId }) => peerId)
    this.#bridges.set(cell, bridges)
    return bridges
  }

  /**
   * Of a bridge, the other bridges that it keeps links to, each with those that may stand in for it: one in the next cell by
   * name and one in a cell by hash; of two cells both in the other one. Nothing of whoever is no bridge.
   */
  bridgeLinks(peerId: string): readonly (readonly string[])[] {
    const cell = this.node(peerId)?.cell
    if (cell === undefined || !this.isBridge(peerId)) return []
    const rank = this.bridges(cell).indexOf(peerId)
    const next = this.#names[(this.#names.indexOf(cell) + 1) % this.count] as string
    const others = this.#names.filter((name) => name !== cell && name !== next)
    if (others.length === 0) return this.#turned(next, rank).map((bridge) => [bridge])
    const other = others.reduce((a, b) => (rendezvous(peerId, a) >= rendezvous(peerId, b) ? a : b))
    return [this.#turned(next, rank), this.#turned(other, rank)]
  }

  /** Bridges of equal rank are linked, so that both of a cell's ways do not end in one gateway. */
  #turned(cell: string, rank: number): string[] {
    const bridges = this.bridges(cell)
    return bridges.map((_, i) => bridges[(i + rank) % bridges.length] as string)
  }

  #fitness(peerId: string): number {
    const { isSuperPeer, isMetered, isDialable } = this.node(peerId) as Node
    return (isSuperPeer ? 4 : 0) + (isMetered ? 0 : 2) + (isDialable ? 1 : 0)
  }
}
