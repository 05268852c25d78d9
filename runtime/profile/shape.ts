import { PROFILE_LIMITS } from '../base/limits.ts'
import { validate } from './generated/validate.ts'
import { nameOf, oneOf, shown, type ProfileError } from './error.ts'
import { nearestTo } from './nearest.ts'
import { resolved, schemaAt } from './schema.ts'
import { childOf, keyPlaceOf, pathOf, placeOf, pointerOf, valueOf, type Json, type Node, type Path } from './tree.ts'

/** The generated validator: true, or false and what it found in `errors`. */
export interface Validate {
  (value: Json): boolean
  errors?: readonly Violation[] | null
}

interface Violation {
  readonly instancePath: string
  readonly keyword: string
  readonly params: { readonly [name: string]: unknown }
  /** Set on what is said of a key by the rules for keys; the error of `propertyNames` itself comes with it. */
  readonly propertyName?: string
}

/** What is found, what must be, and the words it must be one of. */
interface Finding {
  readonly is: string
  readonly must: string
  readonly allowed: readonly string[]
}

/** Far more than are shown, so that those shown are the first by line in any file that people write. */
const VIOLATIONS_MAX = 10 * PROFILE_LIMITS.errorsMax

/** Everything in which the profile differs from its schema. */
export function checkShape(root: Node): ProfileError[] {
  if (validate(valueOf(root))) return []
  const violations = (validate.errors ?? []).filter((violation) => violation.propertyName === undefined)
  // Of a value of the wrong type nothing else is worth saying.
  const mistyped = new Set(
    violations.filter(({ keyword }) => keyword === 'type').map((violation) => violation.instancePath),
  )
  return violations
    .filter(({ keyword, instancePath }) => keyword === 'type' || !mistyped.has(instancePath))
    .slice(0, VIOLATIONS_MAX)
    .map((violation) => errorOf(root, violation))
}

function errorOf(root: Node, violation: Violation): ProfileError {
  const path = pathOf(violation.instancePath)
  const { keyword, params } = violation
  if (keyword === 'additionalProperties') return unknownKey(root, path, String(params['additionalProperty']))
  if (keyword === 'propertyNames') return badName(root, path, String(params['propertyName']))
  const node = nodeAt(root, path)
  const value = node ? valueOf(node) : null
  const { is, must, allowed } = findingOf(violation, value, path)
  const message = `Cannot use ${shown(value)} for "${nameOf(path)}": ${is}, ${must}`
  const nearest = typeof value === 'string' ? nearestTo(value, allowed) : null
  return { ...placeOf(root, path), pointer: violation.instancePath, message, found: shown(value), allowed, nearest }
}

function nodeAt(root: Node, path: Path): Node | undefined {
  return path.reduce<Node | undefined>((node, step) => node && childOf(node, step), root)
}

function unknownKey(root: Node, parent: Path, key: string): ProfileError {
  const allowed = Object.keys(schemaAt(parent)?.properties ?? {})
  const nearest = nearestTo(key, allowed)
  const must = nearest === null ? `it must be one of ${oneOf(allowed)}` : `the nearest known key is "${nearest}"`
  return keyError(root, parent, key, `it is not known in ${placeName(parent)}, ${must}`, allowed, nearest)
}

function badName(root: Node, parent: Path, key: string): ProfileError {
  const names = schemaAt(parent)?.propertyNames
  const form = (names && resolved(names)['x-form']) ?? 'a name'
  return keyError(root, parent, key, `it is of another form, it must be ${form}`, [form], null)
}

function keyError(
  root: Node,
  parent: Path,
  key: string,
  why: string,
  allowed: readonly string[],
  nearest: string | null,
): ProfileError {
  const path = [...parent, key]
  const message = `Cannot use key ${shown(key)}: ${why}`
  return { ...keyPlaceOf(root, path), pointer: pointerOf(path), message, found: shown(key), allowed, nearest }
}

function placeName(path: Path): string {
  return path.length === 0 ? 'a profile' : `"${nameOf(path)}"`
}

function findingOf({ keyword, params }: Violation, value: Json, path: Path): Finding {
  const limit = String(params['limit'])
  switch (keyword) {
    case 'type':
      return finding(
        `it is ${kindOf(value)}`,
        [params['type']].flat().map((type) => article(String(type))),
      )
    case 'enum': {
      const known = params['allowedValues'] as Json[]
      return {
        is: 'it is none of the known values',
        must: `it must be ${oneOf(known.map(shown))}`,
        allowed: known.map(String),
      }
    }
    case 'pattern':
      return finding('it is of another form', [schemaAt(path)?.['x-form'] ?? 'of another form'])
    case 'required':
      return finding(`it has no key "${String(params['missingProperty'])}"`, ['an object with that key'])
    case 'minimum':
      return finding('it is too small', [`at least ${limit}`])
    case 'maximum':
      return finding('it is too great', [`at most ${limit}`])
    case 'uniqueItems':
      return finding(`its items ${String(params['i'])} and ${String(params['j'])} are equal`, ['without repetitions'])
    default: {
      const allowed = `${keyword.startsWith('min') ? 'at least' : 'at most'} ${limit}`
      return { is: `it has ${sizeOf(value)}`, must: `it must have ${allowed}`, allowed: [allowed] }
    }
  }
}

function finding(is: string, allowed: readonly string[]): Finding {
  return { is, must: `it must be ${oneOf(allowed)}`, allowed }
}

function sizeOf(value: Json): string {
  if (typeof value === 'string') return `${value.length} characters`
  return Array.isArray(value) ? `${value.length} items` : `${Object.keys(value ?? {}).length} keys`
}

function kindOf(value: Json): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  return Number.isInteger(value) ? 'a whole number' : article(typeof value)
}

function article(type: string): string {
  if (type === 'integer') return 'a whole number'
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`
}
