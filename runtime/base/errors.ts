/**
 * Every failure that can reach a user carries one of these stable codes. A code never changes its meaning; the sentence
 * that goes with it may be improved at any time.
 */
export const ERROR_CODES = {
  'bad-request': 'The request is not of the expected form',
  'bad-profile': 'The device profile is not valid',
  'bad-token': 'The invite token is not one of Marram or is damaged',
  'not-found': 'What was asked for is not there',
  'not-permitted': 'The author or client has no right to do this',
  'not-enrolled': 'This gateway is not a member of the mesh yet',
  'already-exists': 'It is there already and would be overwritten',
  'cannot-create': 'The file can not be made where it was to be',
  'no-identity': 'The data directory holds no identity',
  'in-use': 'Another process uses the data directory, or writes the same file',
  'port-in-use': 'Another process listens on the port',
  'not-running': 'No gateway runs on this data directory',
  'storage-full': 'The disk is full; nothing was written',
  'storage-io': 'The disk returned an error',
  'storage-damaged': 'What is stored does not pass its checks',
  'too-large': 'A value, document, message or batch is over its limit',
  'kind-mismatch': 'The collection is of another kind here',
  'not-kept': 'This gateway does not keep the collection, or not the partition that it would write',
  'no-key': 'What is asked for is encrypted, and there is no key for it here (yet)',
  'not-supported': 'This build does not do that',
  overloaded: 'A bounded queue is full; try again later',
  unconfirmed: 'The write is done here, but not enough other gateways have confirmed it in time',
  'incarnation-lost': 'Somebody else has written as this gateway; it goes on under a new incarnation',
  closed: 'The gateway is stopping or has stopped',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

/** The one error class of Marram: `code` is stable, `message` tells an owner what to do, `cause` is kept. */
export class MarramError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'MarramError'
    this.code = code
  }
}

/** A bug in Marram, never the answer to anything that a peer, a device or a file sent. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`Assertion failed: ${what}`)
}

/** What the system says of files, for those who don't read `errno.h`. */
const FILE_FAULTS: { readonly [code: string]: string } = {
  EACCES: 'this user has no right to it',
  EEXIST: 'there is a file of that name',
  EISDIR: 'it is a folder',
  ENOENT: 'there is no such file or folder',
  ENOSPC: 'the disk is full',
  ENOTDIR: 'a part of its path is no folder',
  EROFS: 'the disk is mounted read-only',
}

/** The error as a sentence, whatever was thrown. */
export function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code = '', syscall } = error as NodeJS.ErrnoException
  return (syscall !== undefined && FILE_FAULTS[code]) || error.message
}

/** Why a file that was to be made at `path` isn't there. */
export function unwritten(path: string, cause: unknown): MarramError {
  if (cause instanceof MarramError) return cause
  const { code = '' } = cause as NodeJS.ErrnoException
  const kind = code === 'ENOSPC' ? 'storage-full' : Object.hasOwn(FILE_FAULTS, code) ? 'cannot-create' : 'storage-io'
  return new MarramError(kind, `Cannot write "${path}": ${sentenceOf(cause)}`, { cause })
}

/** The stable code of any thrown value; what is not a MarramError counts as an I/O error of the store. */
export function codeOf(error: unknown): ErrorCode {
  return error instanceof MarramError ? error.code : 'storage-io'
}
