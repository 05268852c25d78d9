import type { LagView } from '../ports/operations.ts'
import { batchesText, spanText } from './amount.ts'
import { sizeText } from './size.ts'

export function lagText({ batches, bytes, seconds }: LagView): string {
  return batches === 0 ? 'none' : `${batchesText(batches)}, ${sizeText(bytes)}, ${spanText(seconds)}`
}
