import { grantsOf, roleNames } from '../access/roles.ts'
import { MarramError } from '../base/errors.ts'
import { RIGHT_DELETE, RIGHT_READ, RIGHT_RELAY, RIGHT_WRITE, type Grant } from '../model/capability.ts'
import { isName, isPartition } from '../model/names.ts'
import { HLC_MAX, hlcFromMs, type Hlc } from '../model/stamp.ts'
import type { GrantOptions } from '../ports/operations.ts'
import { parseDuration, parseTime } from '../profile/units.ts'

/** What an administrator gives a member beside what it has. */
export interface Granted {
  readonly grants: readonly Grant[]
  /** The role, and labels of the owner's own choosing. */
  readonly roles: readonly string[]
  readonly notBefore: Hlc
  readonly expires: Hlc
}

const RIGHTS: { readonly [name: string]: number } = {
  read: RIGHT_READ,
  write: RIGHT_WRITE,
  delete: RIGHT_DELETE,
  relay: RIGHT_RELAY,
}
const DOING = 'Cannot grant'
const ALLOWED_MAX = 32
const LABELS_MAX = 16

/** Throws `bad-request` with what is wrong. `hlc` is the stamp of now, `nowMs` the time. */
export function grantedOf(options: GrantOptions, hlc: Hlc, nowMs: number): Granted {
  const { role, allow = [], labels = [] } = options
  const ofRole = role === undefined ? [] : grantsOf(role)
  if (!ofRole) throw refused(role, `it must be one of ${roleNames().join(', ')}`)
  if (!isTexts(allow, ALLOWED_MAX)) throw refused('allow', `it must be at most ${ALLOWED_MAX} patterns with rights`)
  if (!isTexts(labels, LABELS_MAX)) throw refused('labels', `they must be at most ${LABELS_MAX} names`)
  for (const label of labels)
    if (!isName(label) || grantsOf(label))
      throw refused(label, 'a label must be 1 to 63 of a-z, 0-9 and "-", and no role')
  const grants = [...ofRole, ...allow.map(grantOf)]
  if (grants.length === 0 && labels.length === 0) throw refused('nothing', 'name a role, what to allow, or a label')
  const from = timeFrom('from', options.from, nowMs)
  // What was stamped before may already be known to be void, and has been judged elsewhere.
  if (from !== null && from < nowMs) throw refused(options.from, '"from" must not be in the past')
  return {
    grants,
    roles: [...(role === undefined ? [] : [role]), ...labels],
    notBefore: from === null ? hlc : Math.max(hlc, hlcFromMs(from)),
    expires: untilOf(DOING, options.until, nowMs, from ?? nowMs),
  }
}

/** The stamp with which what is given from `fromMs` on ends: a time, or how long from now; without one never. */
export function untilOf(doing: string, text: string | undefined, nowMs: number, fromMs: number = nowMs): Hlc {
  const until = timeFrom('until', text, nowMs, doing)
  if (until === null) return HLC_MAX
  if (until <= fromMs) throw refused(text, '"until" must be later than its beginning', doing)
  return hlcFromMs(until)
}

/** `climate/north=read,write`: a collection, maybe with the beginning of its partitions, or `*`. */
function grantOf(text: string): Grant {
  const [, pattern = '', names = ''] = /^([^=]+)=([a-z,]+)$/.exec(text) ?? []
  const [collection = '', ...rest] = pattern.split('/')
  if (pattern !== '*' && !(isName(collection) && isPartition(rest.join('/'))))
    throw refused(text, 'it must be of the form COLLECTION=RIGHTS, COLLECTION/PARTITION=RIGHTS or *=RIGHTS')
  const rights = names.split(',').reduce((sum, name) => {
    const right = RIGHTS[name]
    if (right === undefined) throw refused(name, `a right must be one of ${Object.keys(RIGHTS).join(', ')}`)
    return sum | right
  }, 0)
  return { pattern, rights }
}

export function rightsText(rights: number): string {
  return Object.entries(RIGHTS)
    .filter(([, right]) => (rights & right) !== 0)
    .map(([name]) => name)
    .join(',')
}

/** Unix milliseconds: a time, or how long from now. */
function timeFrom(name: string, text: string | undefined, nowMs: number, doing = DOING): number | null {
  if (text === undefined) return null
  // It may be anything that a program says.
  const later = parseDuration(String(text))
  if (later.ok) return nowMs + later.value
  const time = parseTime(String(text))
  if (time.ok) return time.value
  throw refused(text, `"${name}" must be a time like 2026-12-24T17:00Z, or how long from now like 30d`, doing)
}

function isTexts(value: unknown, most: number): value is string[] {
  return Array.isArray(value) && value.length <= most && value.every((item) => typeof item === 'string')
}

function refused(what: unknown, why: string, doing = DOING): MarramError {
  return new MarramError('bad-request', `${doing} "${String(what).slice(0, 80)}": ${why}`)
}
