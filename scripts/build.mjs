import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const DIST = join(ROOT, 'dist')
const STAMP = join(DIST, '.built')
const PROGRAM = join(DIST, 'runtime/cli/main.js')
const SOURCES = ['runtime', 'test', 'bench', 'scripts', 'device-profiles', 'tsconfig.json', 'package-lock.json']
/** What the compiler makes of `name.ts`. */
const COMPILED = /\.(js|js\.map|d\.ts)$/

/** Compiles everything into dist/. Throws with the compiler's words when there is a type error. */
export async function build() {
  const sources = sourcesHash()
  // Imported late, for it needs packages that set-up may only just have installed.
  const { generateProfile } = await import('./generate-profile.mjs')
  await generateProfile()
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, '-p', ROOT], { cwd: ROOT, encoding: 'utf8' })
  if (status !== 0) throw new Error(`The sources do not compile:\n${stdout}${stderr}`)
  removeStale()
  if (existsSync(PROGRAM)) chmodSync(PROGRAM, 0o755)
  mkdirSync(DIST, { recursive: true })
  writeFileSync(STAMP, sources)
}

/** Whether dist/ was built from the sources as they are: by content, for times differ between clones, archives and checkouts. */
export function isBuilt() {
  return existsSync(STAMP) && readFileSync(STAMP, 'utf8') === sourcesHash()
}

function sourcesHash() {
  const hash = createHash('sha256')
  for (const source of SOURCES)
    for (const path of filesOf(join(ROOT, source))) hash.update(path).update(readFileSync(path))
  return hash.digest('hex')
}

function filesOf(path) {
  if (!statSync(path).isDirectory()) return [path]
  const names = readdirSync(path).filter((name) => name !== 'generated')
  return names.sort().flatMap((name) => filesOf(join(path, name)))
}

/** What was compiled from a source that is gone must not be found by tests, nor be packaged. */
function removeStale() {
  for (const path of filesOf(DIST)) {
    if (path === STAMP) continue
    const name = relative(DIST, path)
    const source = COMPILED.test(name) ? name.replace(COMPILED, '.ts') : name
    if (!existsSync(join(ROOT, source))) rmSync(path)
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    await build()
  } catch (error) {
    console.error(error.message)
    process.exitCode = 1
  }
}
