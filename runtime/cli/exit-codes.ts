import type { ErrorCode } from '../base/errors.ts'

/** sysexits.h, and what timeout(1) uses when time is up: what scripts and supervisors may rely on. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notRunning: 69,
  cannotCreate: 73,
  io: 74,
  inUse: 75,
  notPermitted: 77,
  badProfile: 78,
  timedOut: 124,
} as const

const EXIT_BY_CODE: { readonly [code in ErrorCode]: number } = {
  'bad-request': EXIT.failed,
  'bad-profile': EXIT.badProfile,
  'bad-token': EXIT.failed,
  'not-found': EXIT.failed,
  'not-permitted': EXIT.notPermitted,
  'not-enrolled': EXIT.failed,
  'already-exists': EXIT.cannotCreate,
  'cannot-create': EXIT.cannotCreate,
  'no-identity': EXIT.failed,
  'in-use': EXIT.inUse,
  'port-in-use': EXIT.cannotCreate,
  'not-running': EXIT.notRunning,
  'storage-full': EXIT.io,
  'storage-io': EXIT.io,
  'storage-damaged': EXIT.io,
  'too-large': EXIT.failed,
  'kind-mismatch': EXIT.failed,
  'not-kept': EXIT.failed,
  'no-key': EXIT.failed,
  'not-supported': EXIT.failed,
  overloaded: EXIT.failed,
  unconfirmed: EXIT.timedOut,
  'incarnation-lost': EXIT.failed,
  closed: EXIT.failed,
}

export function exitCodeOf(code: ErrorCode): number {
  return EXIT_BY_CODE[code]
}
