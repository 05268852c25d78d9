/** What the pages say is held against the code: SPEC.md beside the engine, and the tests that name its invariants. */
export interface Page {
  readonly spec: string
  /** Sources of tests by path from the root. */
  readonly tests: ReadonlyMap<string, string>
}

/** What the code has, and the page must speak of. */
export interface Code {
  readonly messages: readonly string[]
  readonly inputs: readonly string[]
  readonly events: readonly string[]
  readonly nackCodes: readonly string[]
  readonly limits: { readonly [name: string]: number }
}

const UNITS: { readonly [unit: string]: number } = {
  '': 1,
  B: 1,
  KiB: 1_024,
  MiB: 1_048_576,
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Every way in which the page and the code differ, as sentences; none when they agree. */
export function faultsOfSpec({ spec, tests }: Page, code: Code): string[] {
  return [
    ...missing('Messages', rowsIn(spec, '## Messages'), code.messages),
    ...missing('Refusals', rowsIn(spec, '## Refusals'), code.nackCodes),
    ...missing('Events', rowsIn(spec, '## Events'), code.events),
    ...STATE_TABLES.flatMap((title) =>
      missing(title, rowsIn(spec, title), [...code.messages, ...code.inputs.filter((input) => input !== 'frame')]),
    ),
    ...emptyCells(spec),
    ...limitFaults(spec, code.limits),
    ...invariantFaults(spec, tests),
  ]
}

export const STATE_TABLES = ['## States of a link', '## States of a feed', '## States of this incarnation'] as const

/** The rows of the tables below a heading that begins so, each as its cells. */
export function rowsIn(spec: string, heading: string): string[][] {
  const lines = spec.split('\n')
  const start = lines.findIndex((line) => line.startsWith(heading))
  if (start < 0) return []
  const end = lines.findIndex((line, i) => i > start && line.startsWith('## '))
  return lines.slice(start, end < 0 ? undefined : end).flatMap((line) => cellsOf(line) ?? [])
}

/** As a list of none or one row. */
function cellsOf(line: string): [string[]] | null {
  if (!line.startsWith('|') || /^[|\s:-]+$/.test(line)) return null
  return [
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  ]
}

/** A first cell names what its row is about, in code marks. */
function nameOf(row: readonly string[]): string {
  return (row[0] ?? '').replaceAll('`', '')
}

function missing(where: string, rows: readonly (readonly string[])[], names: readonly string[]): string[] {
  const known = new Set(rows.slice(1).map(nameOf))
  const lacking = names.filter((name) => !known.has(name)).map((name) => `${where}: "${name}" has no row`)
  const unknown = [...known].filter((name) => !names.includes(name) && name !== 'malformed')
  return [...lacking, ...unknown.map((name) => `${where}: "${name}" is not in the code`)]
}

function emptyCells(spec: string): string[] {
  const faults: string[] = []
  for (const title of [...STATE_TABLES, '## Messages', '## Refusals', '## Events', '## Limits']) {
    const [head = [], ...rows] = rowsIn(spec, title)
    for (const row of rows) {
      const isWhole = row.length === head.length && row.every((cell) => cell !== '')
      if (!isWhole) faults.push(`${title}: a cell of "${nameOf(row)}" is empty or too many`)
      if (row.includes('ignored')) faults.push(`${title}: "${nameOf(row)}" is ignored without a reason`)
    }
  }
  return faults
}

function limitFaults(spec: string, limits: Code['limits']): string[] {
  const rows = rowsIn(spec, '## Limits')
  const faults = missing('Limits', rows, Object.keys(limits))
  for (const row of rows.slice(1)) {
    const value = limits[nameOf(row)]
    if (value !== undefined && numberOf(row[1] ?? '') !== value)
      faults.push(`Limits: "${nameOf(row)}" is ${value} in the code and ${row[1]} on the page`)
  }
  return faults
}

/** `64 KiB` as 65536. */
export function numberOf(text: string): number {
  const [, digits = '', unit = ''] = /^([\d.,]+)(?: ([A-Za-z]+))?$/.exec(text) ?? []
  return digits === '' ? Number.NaN : Number(digits.replaceAll(',', '')) * (UNITS[unit] ?? Number.NaN)
}

/** An invariant's last cell names the tests that hold it, or says in brackets why there is none. */
function invariantFaults(spec: string, tests: ReadonlyMap<string, string>): string[] {
  const faults: string[] = []
  const rows = rowsIn(spec, '## Invariants').slice(1)
  const known = new Set(rows.map(nameOf))
  for (let i = 1; i <= rows.length; i++)
    if (!known.has(`I${i}`)) faults.push(`Invariants: I${i} is missing, or numbered twice`)
  for (const row of rows) {
    const name = nameOf(row)
    const named = [...tests].filter(([, source]) => namesIn(source).has(name)).map(([path]) => path)
    const listed = [...(row.at(-1) ?? '').matchAll(/`([^`]+)`/g)].map(([, path]) => path as string)
    if (listed.length === 0 && !/^\(.+\)$/.test(row.at(-1) ?? '')) faults.push(`${name} has no test and no reason why`)
    for (const path of listed) if (!named.includes(path)) faults.push(`${name}: ${path} does not name SPEC ${name}`)
    for (const path of named) if (!listed.includes(path)) faults.push(`${name}: the page does not list ${path}`)
  }
  for (const [path, source] of tests)
    for (const name of namesIn(source))
      if (!known.has(name)) faults.push(`${path} names ${name}, which is no invariant`)
  return faults
}

function namesIn(source: string): Set<string> {
  const names = [...source.matchAll(/SPEC (I\d+(?:, I\d+)*)/g)].flatMap(([, list = '']) => list.split(', '))
  return new Set(names)
}
