import { codeOf, MarramError, sentenceOf, type ErrorCode } from '../base/errors.ts'

/** RFC 9457 problem details; `code` is the stable code of errors.ts. */
export interface Problem {
  readonly type: 'about:blank'
  readonly title: string
  readonly status: number
  readonly code: ErrorCode
  readonly detail: string
}

const STATUS: { readonly [code in ErrorCode]: number } = {
  'bad-request': 400,
  'bad-profile': 422,
  'bad-token': 400,
  'not-found': 404,
  'not-permitted': 403,
  'not-enrolled': 409,
  'already-exists': 409,
  'cannot-create': 409,
  'no-identity': 409,
  'in-use': 409,
  'port-in-use': 409,
  'not-running': 503,
  'storage-full': 507,
  'storage-io': 500,
  'storage-damaged': 500,
  'too-large': 413,
  'kind-mismatch': 409,
  'not-kept': 409,
  'no-key': 409,
  'not-supported': 501,
  overloaded: 503,
  unconfirmed: 504,
  'incarnation-lost': 503,
  closed: 503,
}

export function problemOf(error: unknown): Problem {
  const code = codeOf(error)
  const status = error instanceof MarramError ? STATUS[code] : 500
  return { type: 'about:blank', title: code, status, code, detail: sentenceOf(error) }
}
