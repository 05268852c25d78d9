import { QUERY_LIMITS } from '../base/limits.ts'

/** One word of a query. `text` of a quoted text is without quotes and escapes; `column` counts from 1. */
export interface Token {
  readonly kind: 'word' | 'text' | 'number' | 'mark' | 'end'
  readonly text: string
  readonly column: number
}

/** Leaves the parsing of a query; turned into a value by `parseWhere`, never seen outside. */
export class QueryFault extends Error {
  constructor(column: number, is: string, expected: string) {
    super(`${is} at column ${column}, it must have ${expected} there`)
  }
}

const SPACE = /\s*/y
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\p{L}\p{N}_.])/uy
const WORD = /[\p{L}_$][\p{L}\p{N}\p{M}_$.-]*/uy
const MARK = /[=<>]=?|!=|[(),]/y

/** The words of `text`, an `end` last. Throws a QueryFault where there is none, and for a text that is too long. */
export function tokensOf(text: string): Token[] {
  if (text.length > QUERY_LIMITS.textLengthMax) {
    const limit = `at most ${QUERY_LIMITS.textLengthMax}`
    throw new QueryFault(
      QUERY_LIMITS.textLengthMax + 1,
      `it has ${text.length} characters and goes on`,
      `ended, with ${limit}`,
    )
  }
  const tokens: Token[] = []
  let at = matchAt(SPACE, text, 0).length
  while (at < text.length) {
    const { token, length } = tokenAt(text, at)
    tokens.push(token)
    at += length
    at += matchAt(SPACE, text, at).length
  }
  return [...tokens, { kind: 'end', text: '', column: text.length + 1 }]
}

function tokenAt(text: string, at: number): { token: Token; length: number } {
  const column = at + 1
  const quote = text[at]
  if (quote === '"' || quote === "'") return quotedAt(text, at, quote)
  for (const [kind, form] of [
    ['number', NUMBER],
    ['word', WORD],
    ['mark', MARK],
  ] as const) {
    const found = matchAt(form, text, at)
    if (found !== '') return { token: { kind, text: found, column }, length: found.length }
  }
  throw new QueryFault(column, `it has "${text.slice(at, at + 12).toWellFormed()}"`, 'a field, an operator or a value')
}

function quotedAt(text: string, at: number, quote: string): { token: Token; length: number } {
  let end = at + 1
  while (end < text.length && text[end] !== quote) end += text[end] === '\\' ? 2 : 1
  if (end >= text.length) throw new QueryFault(text.length + 1, 'it ends', `a closing ${quote}`)
  const inner = unescaped(text.slice(at + 1, end), quote)
  if (inner === null)
    throw new QueryFault(at + 1, 'it has a text', "a text with JSON's escapes, such as \\n or \\u00b0,")
  return { token: { kind: 'text', text: inner, column: at + 1 }, length: end + 1 - at }
}

/** Null when the text has an escape that JSON doesn't know, or a control character. */
function unescaped(inner: string, quote: string): string | null {
  const json = quote === '"' ? inner : inner.replaceAll(/\\.|"/gs, inDoubleQuotes)
  try {
    return JSON.parse(`"${json}"`) as string
  } catch {
    return null
  }
}

function matchAt(form: RegExp, text: string, at: number): string {
  form.lastIndex = at
  return form.exec(text)?.[0] ?? ''
}

/** A part of a text in single quotes as it is written in double ones. */
function inDoubleQuotes(part: string): string {
  if (part === '"') return '\\"'
  return part === "\\'" ? "'" : part
}
