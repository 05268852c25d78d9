import type { LagView } from '../ports/operations.ts'
import { sizeText } from './size.ts'

export function lagText({ batches, bytes, seconds }: LagView): string {
  return batches === 0 ? 'none' : `${batches} batches, ${sizeText(bytes)}, ${Math.round(seconds)} s`
}
