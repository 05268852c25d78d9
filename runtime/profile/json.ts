import { PROFILE_LIMITS } from '../base/limits.ts'
import type { ProfileError } from './error.ts'
import { pointerOf, type Member, type Node, type Place } from './tree.ts'

export interface ParsedJson {
  /** Null when the text is not JSON. */
  readonly root: Node | null
  readonly errors: readonly ProfileError[]
}

/**
 * Reads JSON (RFC 8259) with the place of every part. Stricter than `JSON.parse`: a key may stand only once in an object,
 * text must be well-formed Unicode, nesting and length are bounded. It never throws.
 */
export function parseJson(text: string, file: string): ParsedJson {
  const reader = new Reader(text, file)
  if (text.length > PROFILE_LIMITS.textLengthMax) {
    const limit = `it must have at most ${PROFILE_LIMITS.textLengthMax}`
    return { root: null, errors: [reader.error(`it has ${text.length} characters, ${limit}`)] }
  }
  try {
    return { root: reader.document(), errors: reader.errors }
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error
    return { root: null, errors: [...reader.errors, error.error] }
  }
}

/** Leaves the recursive descent; caught by `parseJson`, never seen outside. */
class Unreadable extends Error {
  readonly error: ProfileError

  constructor(error: ProfileError) {
    super(error.message)
    this.error = error
  }
}

const LITERALS: readonly (readonly [string, null | boolean])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
]

class Reader {
  readonly errors: ProfileError[] = []
  readonly #text: string
  readonly #file: string
  readonly #path: string[] = []
  #at = 0
  #values = 0
  #line = 1
  #lineStart = 0

  constructor(text: string, file: string) {
    // Editors on Windows begin a file with a byte order mark; RFC 8259 8.1 lets a reader pass over it.
    this.#text = text.startsWith('\ufeff') ? text.slice(1) : text
    this.#file = file
  }

  document(): Node {
    const node = this.#value()
    this.#space()
    if (this.#at < this.#text.length) this.#fail('the end of the text')
    return node
  }

  #value(): Node {
    this.#space()
    if (this.#path.length > PROFILE_LIMITS.depthMax) this.#fail(`at most ${PROFILE_LIMITS.depthMax} levels`)
    if (++this.#values > PROFILE_LIMITS.valuesMax) this.#fail(`at most ${PROFILE_LIMITS.valuesMax} values`)
    const at = this.#place()
    const next = this.#text[this.#at]
    if (next === '{') return { kind: 'object', at, members: this.#members() }
    if (next === '[') return { kind: 'array', at, items: this.#items() }
    if (next === '"') return { kind: 'scalar', at, value: this.#string() }
    const literal = LITERALS.find(([word]) => this.#text.startsWith(word, this.#at))
    if (!literal) return { kind: 'scalar', at, value: this.#number() }
    this.#at += literal[0].length
    return { kind: 'scalar', at, value: literal[1] }
  }

  #members(): Map<string, Member> {
    const members = new Map<string, Member>()
    this.#at++
    if (this.#take('}')) return members
    do {
      this.#space()
      const keyAt = this.#place()
      if (this.#text[this.#at] !== '"') this.#fail('a key in double quotes')
      const key = this.#string()
      this.#path.push(key)
      const isTaken = this.#isTaken(key, keyAt, members)
      if (!this.#take(':')) this.#fail('":" after the key')
      const node = this.#value()
      if (!isTaken) members.set(key, { keyAt, node })
      this.#path.pop()
    } while (this.#take(','))
    if (!this.#take('}')) this.#fail('"," or "}"')
    return members
  }

  #items(): Node[] {
    const items: Node[] = []
    this.#at++
    if (this.#take(']')) return items
    do {
      this.#path.push(String(items.length))
      items.push(this.#value())
      this.#path.pop()
    } while (this.#take(','))
    if (!this.#take(']')) this.#fail('"," or "]"')
    return items
  }

  #isTaken(key: string, at: Place, members: ReadonlyMap<string, Member>): boolean {
    const earlier = members.get(key)
    const why = earlier
      ? `it stands at line ${earlier.keyAt.line} already, it must stand once`
      : key === '__proto__' && 'it is reserved, it must have another name'
    if (!why) return false
    if (this.errors.length >= PROFILE_LIMITS.errorsMax) return true
    const message = `Cannot use key "${key}": ${why}`
    this.errors.push({ ...at, pointer: pointerOf(this.#path), message, found: key, allowed: [], nearest: null })
    return true
  }

  #string(): string {
    const from = this.#at++
    for (; this.#at < this.#text.length; this.#at++) {
      const unit = this.#text.charCodeAt(this.#at)
      if (unit < 0x20) this.#fail('text without line breaks and control characters')
      if (unit === 0x22) return this.#decoded(this.#text.slice(from, ++this.#at), from)
      if (unit === 0x5c) this.#at++
    }
    this.#at = Math.min(this.#at, this.#text.length)
    return this.#fail('a closing double quote')
  }

  #decoded(quoted: string, from: number): string {
    const text = unquoted(quoted)
    if (text?.isWellFormed()) return text
    this.#at = from
    return this.#fail(
      text === null ? 'text with no escapes but \\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX' : 'well-formed Unicode',
    )
  }

  #number(): number {
    const form = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
    form.lastIndex = this.#at
    const digits = form.exec(this.#text)?.[0]
    if (digits === undefined) return this.#fail('a value')
    if (!Number.isFinite(Number(digits))) this.#fail('a number below 1e308')
    this.#at += digits.length
    return Number(digits)
  }

  #take(mark: string): boolean {
    this.#space()
    if (this.#text[this.#at] !== mark) return false
    this.#at++
    return true
  }

  #space(): void {
    for (; this.#at < this.#text.length; this.#at++) {
      const unit = this.#text.charCodeAt(this.#at)
      if (unit === 0x0a) {
        this.#line++
        this.#lineStart = this.#at + 1
      } else if (unit !== 0x20 && unit !== 0x09 && unit !== 0x0d) return
    }
  }

  #place(): Place {
    return { file: this.#file, line: this.#line, column: this.#at - this.#lineStart + 1 }
  }

  #fail(expected: string): never {
    const rest = this.#text.slice(this.#at, this.#at + 12).split('\n')[0] ?? ''
    const found = rest === '' ? 'the end of the line' : `"${rest.toWellFormed()}"`
    const hint = /^(\/\/|\/\*|#)/.test(rest) ? ' (JSON has no comments)' : ''
    throw new Unreadable(this.error(`it has ${found} here, it must have ${expected}${hint}`, found, expected))
  }

  error(why: string, found = '', expected = ''): ProfileError {
    const message = `Cannot read "${this.#file}": ${why}`
    const allowed = expected === '' ? [] : [expected]
    return { ...this.#place(), pointer: pointerOf(this.#path), message, found, allowed, nearest: null }
  }
}

/** Null when the text has an escape that JSON doesn't know. */
function unquoted(quoted: string): string | null {
  try {
    return JSON.parse(quoted) as string
  } catch {
    return null
  }
}
