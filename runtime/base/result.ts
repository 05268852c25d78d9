import type { ErrorCode } from './errors.ts'

/** An expected failure as a value. Bytes from a peer, a device or a file are answered with these, never thrown past a decoder. */
export interface Failure {
  readonly code: ErrorCode
  readonly message: string
}

export type Result<T, E = Failure> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: E }

export function ok<T>(value: T): Result<T, never> {
  return { ok: true, value }
}

export function fail(code: ErrorCode, message: string): Result<never> {
  return { ok: false, error: { code, message } }
}
