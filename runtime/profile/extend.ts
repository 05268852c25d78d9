import { PROFILE_LIMITS } from '../base/limits.ts'
import { sentenceOf } from '../base/errors.ts'
import type { ProfileError } from './error.ts'
import { parseJson } from './json.ts'
import { migrate } from './migrate.ts'
import { mergePatch, withoutMembers, type Node, type ObjectNode, type ScalarNode } from './tree.ts'

/** Reads a file that a profile extends; throws when it can't. */
export type ReadFile = (path: string) => string

export interface Loaded {
  /** The merged profile without `extends`; null when a text is not JSON. */
  readonly root: Node | null
  readonly errors: readonly ProfileError[]
}

/** Reads the profile and all that it extends, brings each to the newest version, and merges them (RFC 7396). */
export function load(text: string, path: string, readFile: ReadFile | undefined): Loaded {
  const loader = new Loader(readFile)
  return { root: loader.load(text, [path]), errors: loader.errors }
}

class Loader {
  readonly errors: ProfileError[] = []
  readonly #readFile: ReadFile | undefined
  #files = 1

  constructor(readFile: ReadFile | undefined) {
    this.#readFile = readFile
  }

  /** `trail`: the files that lead to `text`, its own last. */
  load(text: string, trail: readonly string[]): Node | null {
    const parsed = parseJson(text, trail.at(-1) ?? '')
    this.errors.push(...parsed.errors)
    if (parsed.root?.kind !== 'object') return parsed.root
    const { root, error } = migrate(parsed.root)
    // The keys of a version that isn't known can't be judged.
    if (error) return this.#refused(error)
    const references = referencesOf(root)
    // What is not a list of texts stays, so that the schema's check finds it.
    if (references === null) return root
    let merged: Node | undefined
    for (const { node, pointer } of references) {
      const base = this.#base(node, pointer, trail)
      if (base) merged = mergePatch(merged, base)
    }
    const own = withoutMembers(root, ['extends'])
    return merged ? mergePatch(merged, own) : own
  }

  #base(node: ScalarNode, pointer: string, trail: readonly string[]): Node | null {
    const reference = String(node.value)
    const from = trail.at(-1) ?? ''
    const path = from.slice(0, from.lastIndexOf('/') + 1) + reference.replace(/^(\.\/)+/, '')
    const text = this.#open(reference, path, trail)
    if (typeof text === 'string') {
      const base = this.load(text, [...trail, path])
      return base?.kind === 'object' ? withoutMembers(base, ['$schema']) : base
    }
    const message = `Cannot extend "${reference}": ${text.is}, it must be ${text.must}`
    const found = JSON.stringify(reference)
    return this.#refused({ ...node.at, pointer, message, found, allowed: [text.must], nearest: null })
  }

  #refused(error: ProfileError): null {
    this.errors.push(error)
    return null
  }

  #open(reference: string, path: string, trail: readonly string[]): string | { is: string; must: string } {
    const { extendsDepthMax, filesMax } = PROFILE_LIMITS
    if (!this.#readFile) return { is: 'files are not read here', must: 'merged into this profile first' }
    if (/^\/|^$/.test(reference)) return { is: 'it is not relative', must: 'a path relative to this file' }
    if (trail.includes(path)) return { is: 'it leads back to itself', must: 'a file that does not extend this one' }
    if (trail.length > extendsDepthMax)
      return { is: 'it is too far away', must: `at most ${extendsDepthMax} files away` }
    if (this.#files++ >= filesMax) return { is: 'there are too many files', must: `one of at most ${filesMax}` }
    try {
      return this.#readFile(path)
    } catch (error) {
      return { is: `it can't be read (${sentenceOf(error)})`, must: 'a file that is there' }
    }
  }
}

/** The texts under `extends` with their pointers, or null when there is something else. */
function referencesOf(root: ObjectNode): { node: ScalarNode; pointer: string }[] | null {
  const given = root.members.get('extends')?.node
  if (!given) return []
  if (isText(given)) return [{ node: given, pointer: '/extends' }]
  if (given.kind !== 'array' || !given.items.every(isText)) return null
  return given.items.map((node, i) => ({ node, pointer: `/extends/${i}` }))
}

function isText(node: Node): node is ScalarNode {
  return node.kind === 'scalar' && typeof node.value === 'string'
}
