import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomInteger, seededRandom } from '../../runtime/base/random.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'

const LAST = 24

/** A set as its numbers, and back: the oracle that knows nothing of runs. */
function numbersOf(set: SequenceSet): number[] {
  return [...set.values()]
}

test('of a set of sequences each part, union and difference is what it is of the numbers themselves', () => {
  const random = seededRandom(5)
  const some = (): SequenceSet => {
    return SequenceSet.of(Array.from({ length: LAST }, (_, i) => i + 1).filter(() => random() < 0.5))
  }
  for (let round = 0; round < 500; round++) {
    const [set, other] = [some(), some()]
    // Also from a number to a lesser one.
    const [from, to] = [randomInteger(random, 1, LAST), randomInteger(random, 1, LAST)]
    const numbers = numbersOf(set)
    assert.deepEqual(
      set.within(from, to).runs,
      SequenceSet.of(numbers.filter((seq) => seq >= from && seq <= to)).runs,
      `${set.runs.join(' ')} within ${from} to ${to}`,
    )
    assert.deepEqual(
      numbersOf(set.without(other)),
      numbers.filter((seq) => !other.has(seq)),
    )
    const union = set.clone()
    union.addAll(other)
    assert.deepEqual(
      numbersOf(union),
      [...new Set([...numbers, ...numbersOf(other)])].sort((a, b) => a - b),
    )
    assert.equal(set.next(from), numbers.find((seq) => seq >= from) ?? null)
    assert.equal(set.size, numbers.length)
  }
})
