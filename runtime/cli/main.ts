#!/usr/bin/env node
import { CommanderError } from 'commander'
import { sentenceOf } from '../base/errors.ts'
import { complain } from './context.ts'
import { EXIT } from './exit-codes.ts'
import { makeProgram } from './program.ts'

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // Whoever read our output has had enough (`marram list … | head`).
  if (error.code === 'EPIPE') process.exit(EXIT.done)
  complain('storage-io', `Cannot write the output: ${sentenceOf(error)}`, process.argv.includes('--json'))
  process.exit(EXIT.io)
})

// What nobody reads any more changes neither what is done nor how it ended.
process.stderr.on('error', () => {})

try {
  const program = await makeProgram(process.argv.slice(2))
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage
}
