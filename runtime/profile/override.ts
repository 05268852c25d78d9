import type { ProfileError } from './error.ts'
import { parseJson } from './json.ts'
import { childOf, pathOf, type Member, type Node, type Path } from './tree.ts'

export interface Overridden {
  readonly root: Node
  readonly errors: readonly ProfileError[]
}

/**
 * Applies one `PATH=VALUE` of `run --set`. PATH is `broker.listen`, `broker.listen[0]` or a JSON pointer; objects on the way
 * are made, an array takes an index it has or the next one. VALUE is JSON, or else a text. Errors name `--set PATH`.
 */
export function override(root: Node, setting: string): Overridden {
  const equals = setting.indexOf('=')
  const name = equals < 0 ? setting : setting.slice(0, equals)
  const file = `--set ${name}`
  const path = pathFrom(name)
  const refused = (is: string, must: string): Overridden => {
    const message = `Cannot set "${name}": ${is}, it must be ${must}`
    const pointer = ''
    return {
      root,
      errors: [{ file, line: 1, column: 1, pointer, message, found: setting, allowed: [must], nearest: null }],
    }
  }
  if (equals < 0) return refused('it has no value', 'of the form PATH=VALUE')
  if (path === null) return refused('it is not a path', 'like broker.listen, broker.listen[0] or /broker/listen/0')
  const { node, errors } = valueFrom(setting.slice(equals + 1), file)
  const changed = errors.length === 0 ? setPath(root, path, node) : root
  return changed
    ? { root: changed, errors }
    : refused('no array has such an item', 'an item that is there, or the next one')
}

/** The tree with `value` at `path`, or null where an array has no such item. Shares what did not change. */
export function setPath(root: Node | undefined, path: Path, value: Node): Node | null {
  const [step, ...rest] = path
  if (step === undefined) return value
  const inner = setPath(root && childOf(root, step), rest, value)
  if (inner === null) return null
  if (root?.kind === 'array')
    return isIndex(step, root.items.length) ? { ...root, items: root.items.toSpliced(Number(step), 1, inner) } : null
  const members = new Map<string, Member>(root?.kind === 'object' ? root.members : [])
  return { kind: 'object', at: root?.at ?? value.at, members: members.set(step, { keyAt: value.at, node: inner }) }
}

function isIndex(step: string, length: number): boolean {
  return /^(0|[1-9]\d{0,8})$/.test(step) && Number(step) <= length
}

function pathFrom(name: string): string[] | null {
  const steps = name.startsWith('/') ? pathOf(name) : name.replaceAll(/\[(\d+)\]/g, '.$1').split('.')
  const isPath = steps.every((step) => step !== '' && step !== '__proto__') && steps.length <= 32
  return isPath ? steps : null
}

/** What looks like an array or object must be JSON; anything else that is not JSON is a text. */
function valueFrom(text: string, file: string): { node: Node; errors: readonly ProfileError[] } {
  const { root, errors } = parseJson(text, file)
  const asText: Node = { kind: 'scalar', at: { file, line: 1, column: 1 }, value: text }
  const isJson = root !== null || /^\s*[[{]/.test(text)
  return isJson ? { node: root ?? asText, errors } : { node: asText, errors: [] }
}
