import { MarramError, sentenceOf } from '../base/errors.ts'
import { verifyGateway } from '../repair.ts'
import type { VerifyAnswer } from './verifying.ts'

/** Arguments: the data directory, and `repair` or `check`. Sends one answer; goes when its parent does. */
process.once('disconnect', () => process.exit())
const [dir = '', how] = process.argv.slice(2)
const answer = await answerOf(dir, how === 'repair')
process.send?.(answer, () => process.disconnect())

async function answerOf(of: string, isRepair: boolean): Promise<VerifyAnswer> {
  try {
    return { found: await verifyGateway(of, isRepair) }
  } catch (error) {
    return { code: error instanceof MarramError ? error.code : null, message: sentenceOf(error) }
  }
}
