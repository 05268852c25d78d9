import type { Command } from 'commander'
import { verifyGateway } from '../../repair.ts'
import { run } from '../context.ts'
import { EXIT } from '../exit-codes.ts'

export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .description('check every stored batch and document of a gateway that does not run')
    .option('--repair', 'salvage a damaged log and derive the documents from the batches again')
    .addHelpText('after', '\nExample:\n  marram verify --repair')
    .action((options: { repair?: boolean }, command: Command) =>
      run(command, async (context) => {
        const { batches, bad, cells, differences } = await verifyGateway(context.dir, options.repair === true)
        const repaired = options.repair === true ? differences : 0
        const sentence = `${batches} batches checked, ${bad.length} bad; ${cells} cells compared, ${differences} documents differed${options.repair ? ' and were put right' : ''}`
        const lines = bad.map(({ feed, sequence, why }) => `bad: feed ${feed} batch ${sequence}: ${why}`)
        context.print({ batches, bad, cells, differences, repaired }, [sentence, ...lines].join('\n'))
        if (bad.length > 0 || differences > repaired) process.exitCode = EXIT.failed
      }),
    )
}
