import { QUERY_LIMITS } from '../base/limits.ts'
import { fail, ok, type Result } from '../base/result.ts'
import { isFieldPath } from './names.ts'
import { comparison, exists, isAny, pickerOf, startsWith, type Literal, type Test } from './predicate.ts'
import { QueryFault, tokensOf, type Token } from './token.ts'
import type { Fields, Value } from './value.ts'

/**
 * Queries over documents: a filter (`temperature > 21 and room = "kitchen"`) and an order (`-temperature`).
 *
 *     filter     = conjunction { "or" conjunction }
 *     conjunction = term { "and" term }
 *     term       = "not" term | "(" filter ")" | field test
 *     test       = ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) literal
 *                | "startswith" text | "in" "(" literal { "," literal } ")" | "exists"
 *     literal    = number | text | "true" | "false" | "null"
 *
 * Keywords are of any case; texts stand in double or single quotes with JSON's escapes; a field with other characters than
 * letters, digits, `_`, `-` and `.` stands in quotes too. A dotted field is the field of exactly that name or else a member
 * of a nested object. Tests across types are false, `!=` too; `null` stands for no value: `= null` where the field is
 * missing, `!= null` where it is there.
 */
export type Filter = (fields: Fields) => boolean

export type Order = (a: Fields, b: Fields) => number

/** The filter that `text` describes; errors name the column and what was expected there. */
export function parseWhere(text: string): Result<Filter> {
  try {
    const parser = new Parser(tokensOf(text))
    return ok(parser.whole())
  } catch (error) {
    if (!(error instanceof QueryFault)) throw error
    const where = text.length > 60 ? `${text.slice(0, 60).toWellFormed()}…` : text
    return fail('bad-request', `Cannot use "${where}" as a filter: ${error.message}`)
  }
}

/**
 * Sorts by `field`, or by `-field` for the greatest first. Numbers come before texts, texts before booleans, then lists
 * and objects; documents without the field come last either way. Equal ones compare as 0.
 */
export function parseOrder(text: string): Result<Order> {
  const isDescending = text.startsWith('-')
  const field = isDescending ? text.slice(1) : text
  if (!isFieldPath(field)) {
    const must = 'it must be a field of 1 to 256 bytes, with - before it for the greatest first'
    return fail('bad-request', `Cannot sort by "${text.slice(0, 60).toWellFormed()}": it is not a field, ${must}`)
  }
  const pick = pickerOf(field)
  return ok((a, b) => compareForOrder(pick(a), pick(b), isDescending ? -1 : 1))
}

function compareForOrder(a: Value | undefined, b: Value | undefined, sign: 1 | -1): number {
  const [rankA, rankB] = [rankOf(a), rankOf(b)]
  if (rankA === MISSING || rankB === MISSING) return rankA - rankB
  if (rankA !== rankB) return sign * (rankA - rankB)
  if (rankA === NESTED || a === b) return 0
  return (a as Literal & {}) < (b as Literal & {}) ? -sign : sign
}

const NESTED = 3
const MISSING = 4

function rankOf(value: Value | undefined): number {
  if (value === undefined || value === null) return MISSING
  const rank = ['number', 'string', 'boolean'].indexOf(typeof value)
  return rank < 0 ? NESTED : rank
}

/** Recursive descent over the tokens; leaves with a QueryFault. */
class Parser {
  readonly #tokens: readonly Token[]
  #at = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  whole(): Filter {
    const filter = this.#disjunction()
    if (this.#next.kind !== 'end') this.#fail('"and", "or" or the end')
    return filter
  }

  #disjunction(): Filter {
    const parts = [this.#conjunction()]
    while (this.#takeWord('or')) parts.push(this.#conjunction())
    return parts.length === 1 ? (parts[0] as Filter) : (fields) => parts.some((part) => part(fields))
  }

  #conjunction(): Filter {
    const parts = [this.#term()]
    while (this.#takeWord('and')) parts.push(this.#term())
    return parts.length === 1 ? (parts[0] as Filter) : (fields) => parts.every((part) => part(fields))
  }

  #term(): Filter {
    if (++this.#depth > QUERY_LIMITS.depthMax) this.#fail(`at most ${QUERY_LIMITS.depthMax} levels`)
    const filter = this.#nested() ?? this.#comparison()
    this.#depth--
    return filter
  }

  #nested(): Filter | null {
    if (this.#takeWord('not')) {
      const inner = this.#term()
      return (fields) => !inner(fields)
    }
    if (!this.#takeMark('(')) return null
    const inner = this.#disjunction()
    if (!this.#takeMark(')')) this.#fail('"and", "or" or ")"')
    return inner
  }

  #comparison(): Filter {
    const pick = pickerOf(this.#field())
    const test = this.#test()
    return (fields) => test(pick(fields))
  }

  #field(): string {
    const { kind, text } = this.#next
    const isField = (kind === 'word' && !KEYWORDS.has(text.toLowerCase())) || kind === 'text'
    if (!isField || !isFieldPath(text)) this.#fail('a field, "not" or "("')
    this.#at++
    return text
  }

  #test(): Test {
    if (this.#takeWord('exists')) return exists
    if (this.#takeWord('startswith')) return startsWith(this.#text())
    if (this.#takeWord('in')) return isAny(this.#list())
    const { kind, text } = this.#next
    if (kind !== 'mark' || !COMPARISONS.has(text)) this.#fail('= != < <= > >= in exists or startswith')
    this.#at++
    return comparison(text, this.#literal())
  }

  #list(): Literal[] {
    if (!this.#takeMark('(')) this.#fail('"(" before the list')
    const items = [this.#literal()]
    while (this.#takeMark(',')) items.push(this.#literal())
    if (!this.#takeMark(')')) this.#fail('"," or ")"')
    return items
  }

  #text(): string {
    const { kind, text } = this.#next
    if (kind !== 'text') this.#fail('a text in quotes')
    this.#at++
    return text
  }

  #literal(): Literal {
    const { kind, text } = this.#next
    const word = kind === 'word' ? text.toLowerCase() : ''
    if (kind !== 'text' && kind !== 'number' && !LITERALS.has(word)) {
      this.#fail('a number, a text in quotes, true, false or null')
    }
    this.#at++
    if (kind === 'text') return text
    return kind === 'number' ? Number(text) : (LITERALS.get(word) as Literal)
  }

  get #next(): Token {
    return this.#tokens[this.#at] as Token
  }

  #takeWord(word: string): boolean {
    const { kind, text } = this.#next
    const isTaken = kind === 'word' && text.toLowerCase() === word
    if (isTaken) this.#at++
    return isTaken
  }

  #takeMark(mark: string): boolean {
    const isTaken = this.#next.kind === 'mark' && this.#next.text === mark
    if (isTaken) this.#at++
    return isTaken
  }

  #fail(expected: string): never {
    const { kind, text, column } = this.#next
    throw new QueryFault(column, kind === 'end' ? 'it ends' : `it has "${text.slice(0, 40).toWellFormed()}"`, expected)
  }
}

const COMPARISONS: ReadonlySet<string> = new Set(['=', '!=', '<', '<=', '>', '>='])
const KEYWORDS: ReadonlySet<string> = new Set([
  'and',
  'or',
  'not',
  'in',
  'exists',
  'startswith',
  'true',
  'false',
  'null',
])
const LITERALS: ReadonlyMap<string, Literal> = new Map<string, Literal>([
  ['true', true],
  ['false', false],
  ['null', null],
])
