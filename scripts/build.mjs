import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { generateProfile } from './generate-profile.mjs'

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
export const BUILT = join(ROOT, 'dist/.built')

/** Compiles everything into dist/. Throws when there is a type error. */
export async function build() {
  await generateProfile()
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, '-p', ROOT], { cwd: ROOT, encoding: 'utf8' })
  if (status !== 0) throw new Error(`The sources do not compile:\n${stdout}${stderr}`)
  removeStale()
  const main = join(ROOT, 'dist/runtime/cli/main.js')
  if (existsSync(main)) chmodSync(main, 0o755)
  mkdirSync(dirname(BUILT), { recursive: true })
  writeFileSync(BUILT, '')
}

/** What was compiled from a source that is gone must not be found by tests or packaged. */
function removeStale() {
  const dist = join(ROOT, 'dist')
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const source = relative(dist, path).replace(/(\.js|\.js\.map|\.d\.ts)$/, '')
    const isKept = path === BUILT || ['.ts', '.json', ''].some((ending) => existsSync(join(ROOT, source + ending)))
    if (!isKept) rmSync(path)
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
