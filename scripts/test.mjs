import { existsSync, readdirSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { run } from 'node:test'
import { spec, tap } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/**
 * Runs the compiled tests: `node scripts/test.mjs [--system] [--only PART-OF-PATH]... [--root FOLDER]`. Finding no test file
 * is a failure, and so is a file in which no test ran: with `node --test` both pass.
 */
const { values: options } = parseArgs({
  options: {
    system: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [''] },
    root: { type: 'string', default: join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist/test') },
  },
})
const AT_ONCE = 2

const files = testFiles(resolve(options.root))
let ran = 0
if (files.length === 0) fail(`No test was found in "${options.root}"`)
else runAll()

function runAll() {
  const stream = run({ files, concurrency: AT_ONCE })
  stream.on('test:pass', countTest)
  stream.on('test:fail', (event) => {
    countTest(event)
    process.exitCode = 1
  })
  stream.on('end', () => {
    if (ran === 0) fail('No test ran')
  })
  stream.compose(process.stdout.isTTY ? new spec() : tap).pipe(process.stdout)
}

/** Node reports a file that defines no test as a test that passed and is named by the file's path. A suite is no test. */
function countTest({ name, details }) {
  if (details.type === 'suite') return
  if (files.includes(name)) fail(`No test ran in "${relative(process.cwd(), name)}"`)
  else ran += 1
}

/** Tests of the system, which need root and Debian packages, run only when asked for. */
function testFiles(root) {
  if (!existsSync(root)) return []
  return readdirSync(root, { recursive: true })
    .filter((path) => path.endsWith('.test.js'))
    .filter((path) => path.startsWith('system/') === options.system)
    .filter((path) => options.only.some((part) => path.includes(part)))
    .sort()
    .map((path) => join(root, path))
}

function fail(sentence) {
  console.error(sentence)
  process.exitCode = 1
}
