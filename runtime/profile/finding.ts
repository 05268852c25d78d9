import { nameOf, shown, type ProfileError } from './error.ts'
import { nearestTo } from './nearest.ts'
import { childOf, placeOf, pointerOf, valueOf, type Node, type Path } from './tree.ts'

/** One thing that the schema can't say: where, and what is and must be. */
export interface Finding {
  readonly path: Path
  readonly is: string
  readonly must: string
  readonly allowed?: readonly string[]
}

/** The finding as an error at the place that was written. */
export function errorOf(root: Node, { path, is, must, allowed = [must] }: Finding): ProfileError {
  const node = path.reduce<Node | undefined>((part, step) => part && childOf(part, step), root)
  const value = node ? valueOf(node) : null
  const found = node ? shown(value) : 'nothing'
  const message = `Cannot use ${found} for "${nameOf(path)}": ${is}, it must be ${must}`
  const nearest = typeof value === 'string' ? nearestTo(value, allowed) : null
  return { ...placeOf(root, path), pointer: pointerOf(path), message, found, allowed, nearest }
}
