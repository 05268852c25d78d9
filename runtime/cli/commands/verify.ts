import type { Command } from 'commander'
import { amountText, batchesText } from '../amount.ts'
import { run } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { verifyApart } from '../verifying.ts'

export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .description('check every stored batch and document of a gateway that does not run')
    .option(
      '--repair',
      'salvage a damaged log, take damaged batches out so that neighbours send them again, and derive the documents anew',
    )
    .addHelpText('after', '\nExample:\n  marram verify --repair')
    .action((options: { repair?: boolean }, command: Command) =>
      run(command, async (context) => {
        const { batches, bad, cells, differences } = await verifyApart(context.dir, options.repair === true)
        const repaired = options.repair === true ? differences : 0
        const sentence = `${batchesText(batches)} checked, ${bad.length} bad; ${amountText(cells, 'cell')} compared, ${amountText(differences, 'document')} differed${repaired === 0 ? '' : ', put right now'}`
        const lines = bad.map(
          ({ feed, author, collection, sequence, why }) =>
            `bad: batch ${sequence} of ${author} in "${collection}" (feed ${feed}): ${why}`,
        )
        if (options.repair && bad.length > 0)
          lines.push('The bad batches were taken out; the gateway asks its neighbours for them when it runs.')
        context.print({ batches, bad, cells, differences, repaired }, [sentence, ...lines].join('\n'))
        if (!options.repair && (bad.length > 0 || differences > 0)) process.exitCode = EXIT.failed
      }),
    )
}
