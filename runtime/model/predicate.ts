import type { Fields, Value } from './value.ts'

/** What a query compares with, and its tests of one field's value (undefined where the field is missing). They never throw. */
export type Literal = null | boolean | number | string
export type Test = (value: Value | undefined) => boolean

export const exists: Test = (value) => value !== undefined && value !== null

/** `operator` is one of `= != < <= > >=`. */
export function comparison(operator: string, literal: Literal): Test {
  if (literal === null) return nullTest(operator)
  const compare = comparerOf(operator)
  const type = typeof literal
  // oxlint-disable-next-line valid-typeof -- the literal's own type
  return (value) => typeof value === type && compare(value as Literal & {}, literal)
}

function nullTest(operator: string): Test {
  if (operator === '=') return (value) => !exists(value)
  return operator === '!=' ? exists : () => false
}

function comparerOf(operator: string): (a: Literal & {}, b: Literal & {}) => boolean {
  switch (operator) {
    case '=':
      return (a, b) => a === b
    case '!=':
      return (a, b) => a !== b
    case '<':
      return (a, b) => a < b
    case '<=':
      return (a, b) => a <= b
    case '>':
      return (a, b) => a > b
    default:
      return (a, b) => a >= b
  }
}

export function startsWith(start: string): Test {
  return (value) => typeof value === 'string' && value.startsWith(start)
}

export function isAny(literals: readonly Literal[]): Test {
  const tests = literals.map((literal) => comparison('=', literal))
  return (value) => tests.some((test) => test(value))
}

/** Reads one field: of exactly that name, or else a member of a nested object. */
export function pickerOf(path: string): (fields: Fields) => Value | undefined {
  if (path.includes('.')) return (fields) => pick(fields, path)
  return (fields) => (Object.hasOwn(fields, path) ? fields[path] : undefined)
}

/** The member of exactly that name; else what the rest of the path names within the longest head that is a member. */
function pick(fields: Fields, path: string): Value | undefined {
  if (Object.hasOwn(fields, path)) return fields[path]
  for (let dot = path.lastIndexOf('.'); dot > 0; dot = path.lastIndexOf('.', dot - 1)) {
    const head = path.slice(0, dot)
    const inner = Object.hasOwn(fields, head) ? fields[head] : undefined
    if (isNested(inner)) return pick(inner, path.slice(dot + 1))
  }
  return undefined
}

function isNested(value: Value | undefined): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
}
