import { existsSync, readdirSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { run } from 'node:test'
import { spec, tap } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/**
 * Runs the compiled tests: `node scripts/test.mjs [--system] [--only PART] [--root DIR]`. Finding no test, or running none,
 * is a failure: on Node 20 `--test` itself passes then.
 */
const { values } = parseArgs({
  options: {
    system: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    root: { type: 'string', default: join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist/test') },
  },
})

const files = testFiles(values.root)
if (files.length === 0) {
  console.error(`No test was found below "${values.root}"`)
  process.exit(1)
}

let ran = 0
const stream = run({ files, concurrency: 2 })
stream.on('test:pass', ({ details }) => (ran += details.type === 'suite' ? 0 : 1))
stream.on('test:fail', () => {
  ran += 1
  process.exitCode = 1
})
stream.compose(process.stdout.isTTY ? new spec() : tap).pipe(process.stdout)
stream.on('end', () => {
  if (ran > 0) return
  console.error('No test was run')
  process.exitCode = 1
})

function testFiles(root) {
  if (!existsSync(root)) return []
  return readdirSync(root, { recursive: true })
    .map(String)
    .filter((file) => file.endsWith('.test.js'))
    .filter(
      (file) =>
        relative('system', file).startsWith('..') !== values.system && file.split(sep).join('/').includes(values.only),
    )
    .sort()
    .map((file) => join(root, file))
}
