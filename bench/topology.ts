import { Fleet } from '../test/topology/fleet.ts'

/** What became of gateways that all join within ten seconds and know one address; times are virtual milliseconds. */
export interface TopologyFigures {
  /** After the last has joined: until there was a way from each to each, and until no link had changed for 20 s, if it came to that. */
  readonly connectedMs: number
  readonly settledMs: number
  /** Over links of all gateways until then: frames with address records, and their bytes. */
  readonly messages: number
  readonly bytes: number
  readonly dials: number
  readonly linksMost: number
  readonly linksBetweenCells: number
  /** After three in ten lost their power: until all had missed them, at most 45 s, and the rest were connected. */
  readonly recoveredMs: number
}

const CELL = 25
const JOINED_MS = 10_000
const LONG_MS = 600_000

export interface Layout {
  /** Pairs of gateways, by number. */
  readonly edges: readonly [number, number][]
  /** Who vanished then, and the links of the others when these had recovered. */
  readonly gone: readonly number[]
  readonly edgesAfter: readonly [number, number][]
  readonly figures: TopologyFigures
}

/**
 * The links that `gateways` in cells of 25 come to have, at the latest after `settleMsMax`, and what they were until then; then three
 * in ten vanish.
 */
export function layOut(gateways: number, seed: number, settleMsMax: number): Layout {
  const fleet = new Fleet({ gateways, cells: Math.ceil(gateways / CELL), seed, join: 'bootstrap' })
  fleet.schedule.runUntil(JOINED_MS)
  const connectedMs = fleet.until(() => fleet.isConnected(), LONG_MS)
  const settledMs = connectedMs + fleet.until(() => fleet.isSettled(20_000), settleMsMax)
  const edges = fleet.edges()
  const cellOf = (index: number): string | undefined => fleet.gateways[index]?.cell
  const { messages, bytes, dials } = fleet
  const figures = {
    connectedMs,
    settledMs,
    messages,
    bytes,
    dials,
    linksMost: Math.max(...fleet.gateways.map(({ links }) => links.size)),
    linksBetweenCells: edges.filter(([a, b]) => cellOf(a) !== cellOf(b)).length,
  }
  const drawn = fleet.gateways.slice(1).sort(() => fleet.random() - 0.5)
  const gone = drawn.slice(0, Math.floor(gateways * 0.3))
  for (const gateway of gone) fleet.vanish(gateway)
  const recoveredMs = fleet.until(() => fleet.isMissed() && fleet.isConnected(), LONG_MS)
  const edgesAfter = fleet.edges()
  return { edges, gone: gone.map(({ index }) => index), edgesAfter, figures: { ...figures, recoveredMs } }
}
