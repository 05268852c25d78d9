/** JSON that remembers where each part of it was written, so that errors can say where. */

/** Line and column count from 1; columns are UTF-16 units, as editors count. */
export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

export interface Member {
  readonly keyAt: Place
  readonly node: Node
}

export interface ObjectNode {
  readonly kind: 'object'
  readonly at: Place
  readonly members: ReadonlyMap<string, Member>
}

export interface ArrayNode {
  readonly kind: 'array'
  readonly at: Place
  readonly items: readonly Node[]
}

export interface ScalarNode {
  readonly kind: 'scalar'
  readonly at: Place
  readonly value: null | boolean | number | string
}

export type Node = ObjectNode | ArrayNode | ScalarNode

/** A way from the root to a part: keys of objects and indexes of arrays. */
export type Path = readonly string[]

export function valueOf(node: Node): Json {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'array') return node.items.map(valueOf)
  return Object.fromEntries([...node.members].map(([key, member]) => [key, valueOf(member.node)]))
}

/** `value` as a tree whose every part lies at `at`: for what was not written in a file. */
export function treeOf(value: Json, at: Place): Node {
  if (value === null || typeof value !== 'object') return { kind: 'scalar', at, value }
  if (Array.isArray(value)) return { kind: 'array', at, items: value.map((item) => treeOf(item, at)) }
  const members = Object.entries(value).map(([key, item]) => [key, { keyAt: at, node: treeOf(item, at) }] as const)
  return { kind: 'object', at, members: new Map(members) }
}

export function childOf(node: Node, step: string): Node | undefined {
  if (node.kind === 'object') return node.members.get(step)?.node
  return node.kind === 'array' ? node.items[Number(step)] : undefined
}

/** Where the part at `path` is written, or the nearest part around it that is. */
export function placeOf(root: Node, path: Path): Place {
  let node = root
  for (const step of path) {
    const child = childOf(node, step)
    if (!child) break
    node = child
  }
  return node.at
}

/** Where the key at the end of `path` is written; an array's item has none, so its own place. */
export function keyPlaceOf(root: Node, path: Path): Place {
  let node = root
  let at = root.at
  for (const step of path) {
    const child = childOf(node, step)
    if (!child) break
    at = node.kind === 'object' ? (node.members.get(step)?.keyAt ?? child.at) : child.at
    node = child
  }
  return at
}

/** RFC 7396 2 (JSON Merge Patch): objects merge, null removes a member, everything else replaces. */
export function mergePatch(base: Node | undefined, patch: Node): Node {
  if (patch.kind !== 'object') return patch
  const members = new Map(base?.kind === 'object' ? base.members : [])
  for (const [key, { keyAt, node }] of patch.members) {
    if (node.kind === 'scalar' && node.value === null) members.delete(key)
    else members.set(key, { keyAt, node: mergePatch(members.get(key)?.node, node) })
  }
  return { kind: 'object', at: patch.at, members }
}

export function withoutMembers(node: ObjectNode, keys: readonly string[]): ObjectNode {
  return { ...node, members: new Map([...node.members].filter(([key]) => !keys.includes(key))) }
}

/** RFC 6901 3: the path as a JSON pointer. */
export function pointerOf(path: Path): string {
  return path.map((step) => `/${step.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
}

export function pathOf(pointer: string): string[] {
  const steps = pointer.split('/').slice(1)
  return steps.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}
