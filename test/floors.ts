import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'

/** A folder of the program, or a file beside them, and what it may import. */
export interface Room {
  /** It imports from lower floors only. */
  readonly floor: number
  /** Packages that this room alone may use. */
  readonly packages?: readonly string[]
  /** Modules of Node it may use; all of them without this. */
  readonly builtins?: readonly string[]
  /** Knows no clock, no timer, no chance and no process. */
  readonly isPure?: boolean
}

export type House = { readonly [room: string]: Room }

const COMMENTS = /\/\*[\s\S]*?\*\/|(?<![:'"`])\/\/.*$/gm
const IMPORTS = /\bfrom\s*'([^'\s]+)'|\bimport\s*'([^'\s]+)'|\b(?:import|require)\s*\(\s*(?:'([^'\s]+)'|[^'\s])/g
const IMPURE =
  /\b(Date\.now|new Date\(\)|Math\.random|performance\.\w+|process\.\w+|set(?:Timeout|Interval|Immediate))\b/

/** Every way in which the sources below `root` break the table, as sentences; none when it holds. */
export function faultsOf(root: string, house: House): string[] {
  const names = existsSync(root) ? readdirSync(root) : []
  const missing = Object.keys(house).filter((room) => !names.includes(room))
  const unknown = names.filter((name) => !Object.hasOwn(house, name))
  const files = names.filter((name) => Object.hasOwn(house, name)).flatMap((name) => sourcesOf(root, name))
  return [
    ...missing.map((room) => `${room} is in the table and not in the program`),
    ...unknown.map((name) => `${name} is in the program and not in the table`),
    ...files.flatMap((file) => faultsOfFile(root, file, house)),
  ]
}

/** Paths from `root`, with slashes. */
function sourcesOf(root: string, path: string): string[] {
  if (statSync(join(root, path)).isDirectory())
    return readdirSync(join(root, path)).flatMap((name) => sourcesOf(root, posix.join(path, name)))
  return path.endsWith('.ts') ? [path] : []
}

function faultsOfFile(root: string, file: string, house: House): string[] {
  const name = roomOf(file)
  const source = readFileSync(join(root, file), 'utf8').replace(COMMENTS, '')
  const faults = [...source.matchAll(IMPORTS)].map(([, from, bare, called]) =>
    faultOfImport(file, name, from ?? bare ?? called, house),
  )
  const impure = house[name]?.isPure ? IMPURE.exec(source)?.[0] : undefined
  if (impure !== undefined) faults.push(`uses ${impure}, which a pure room may not`)
  return faults.filter((fault) => fault !== null).map((fault) => `${file} ${fault}`)
}

function faultOfImport(file: string, name: string, target: string | undefined, house: House): string | null {
  const room = house[name] as Room
  if (target === undefined) return 'imports what is only known when it runs'
  if (target.startsWith('.')) return faultOfNeighbour(name, roomOf(posix.join(dirname(file), target)), house)
  if (target.startsWith('node:'))
    return !room.builtins || room.builtins.includes(target) ? null : `imports ${target}, which its room may not`
  const isAllowed = room.packages?.some((name) => target === name || target.startsWith(`${name}/`))
  return isAllowed ? null : `imports ${target}, a package of another room`
}

function faultOfNeighbour(name: string, other: string, house: House): string | null {
  if (other === name) return null
  const [own, floor] = [house[name]?.floor ?? 0, house[other]?.floor]
  if (floor === undefined) return `imports ${other}, which is no room`
  return floor < own ? null : `imports ${other}, which is on floor ${floor} and not below floor ${own}`
}

function roomOf(path: string): string {
  return path.split('/')[0] as string
}
