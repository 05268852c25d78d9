import { randomInteger, seededRandom } from '../../runtime/base/random.ts'

/**
 * Who is healed after the faults when all others are lost: at least two, chosen by the seed alone, so that the faults before are
 * the same as without.
 */
export function coreOf(seed: number, gateways: number): ReadonlySet<number> {
  const random = seededRandom(~seed >>> 0)
  const size = randomInteger(random, 2, Math.max(2, gateways - 1))
  const left = Array.from({ length: gateways }, (_, index) => index)
  while (left.length > size) left.splice(randomInteger(random, 0, left.length - 1), 1)
  return new Set(left)
}
