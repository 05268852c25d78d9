import { MarramError } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { formatStamp } from '../model/stamp.ts'
import type { Receipt, WaitOptions } from '../ports/operations.ts'
import type { DocumentPlace } from '../ports/store.ts'
import type { Confirmer, Written } from '../ports/writer.ts'

const DEFAULT_TIMEOUT_MS = 30_000

/**
 * Writes, then waits until so many other gateways have it on their disks. Throws `unconfirmed` when they don't in time: the
 * write stands.
 */
export async function writeAndWait(
  confirmer: Confirmer,
  place: DocumentPlace,
  write: () => Promise<Written>,
  { wait, timeoutMs = DEFAULT_TIMEOUT_MS, signal }: WaitOptions & { readonly wait: number },
): Promise<Receipt> {
  check(wait, timeoutMs)
  confirmer.checkWait(wait, place)
  const { key } = place
  const written = await write()
  const stamp = formatStamp(written)
  const held = await confirmer.confirm(written, wait, timeoutMs, signal)
  if (held >= wait) return { key, stamp, held }
  const few = `${held} of ${wait} other gateways had it on their disks when the waiting ended`
  const sentence = `Cannot confirm "${key}": ${few}; the write itself is done (${stamp}), it is on the disk here and goes on to the others`
  throw new MarramError('unconfirmed', sentence)
}

function check(wait: number, timeoutMs: number): void {
  if (!Number.isSafeInteger(wait) || wait < 0) {
    throw new MarramError('bad-request', `Cannot wait for ${wait} gateways: it must be a whole number`)
  }
  const { confirmationMsMax } = GATEWAY_LIMITS
  if (Number.isSafeInteger(timeoutMs) && timeoutMs >= 0 && timeoutMs <= confirmationMsMax) return
  const sentence = `Cannot wait for ${timeoutMs} ms: it must be a whole number up to ${confirmationMsMax}`
  throw new MarramError('bad-request', sentence)
}
