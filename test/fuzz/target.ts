import { MarramError, type ErrorCode } from '../../runtime/base/errors.ts'
import type { Form } from './mutate.ts'

/** One decoder under fuzz. */
export interface Target {
  readonly name: string
  readonly form: Form
  /** Takes milliseconds by its nature: tried less often. */
  readonly isCostly?: boolean
  /** Valid inputs, as the real encoders make them. */
  readonly samples: readonly Uint8Array[]
  /** True when the input was taken, false when it was refused as documented. Everything that it throws is a bug. */
  readonly run: (input: Uint8Array) => boolean | Promise<boolean>
}

/** False when `act` refused with a documented code. */
export function unlessRefused(codes: readonly ErrorCode[], act: () => boolean): boolean {
  try {
    return act()
  } catch (error) {
    if (error instanceof MarramError && codes.includes(error.code)) return false
    throw error
  }
}

/** What must hold of an input that was taken. */
export function must(condition: boolean, what: string): void {
  if (!condition) throw new Error(`It was taken although ${what}`)
}

export function textOf(input: Uint8Array): string {
  return Buffer.from(input.buffer, input.byteOffset, input.byteLength).toString()
}
