import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/**
 * Makes a fresh clone ready to run: installs what package-lock.json says and builds. Node's built-ins only, for it runs
 * before anything is installed. Does nothing, and says nothing, when there is nothing to do.
 */
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const STAMP = join(ROOT, 'node_modules/.marram-setup')
const BUILT = join(ROOT, 'dist/.built')
const SOURCES = [
  'runtime',
  'test',
  'bench',
  'device-profiles',
  'scripts/generate-profile.mjs',
  'tsconfig.json',
  'package.json',
]
const NODE_MIN = [20, 19]
const PLATFORMS = ['linux-x64', 'linux-arm64', 'linux-arm', 'darwin-x64', 'darwin-arm64']
const LOCK_STALE_MS = 600_000

export async function setup() {
  checkMachine()
  await alone(async () => {
    install()
    if (isBuildStale()) {
      console.error('Building…')
      const { build } = await import('./build.mjs')
      await build()
    }
  })
}

function checkMachine() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1])) {
    throw new Error(
      `Marram needs Node ${NODE_MIN.join('.')} or newer, this is ${process.versions.node}: install a newer one, 22 is recommended`,
    )
  }
  const platform = `${process.platform}-${process.arch}`
  if (!PLATFORMS.includes(platform))
    throw new Error(`Marram does not run on ${platform}: it runs on ${PLATFORMS.join(', ')}`)
}

function install() {
  const wanted = createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .update(process.versions.modules)
    .digest('hex')
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === wanted) return
  console.error('Installing dependencies…')
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const { status, error, stderr } = spawnSync(
    npm,
    ['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund'],
    {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  if (error) throw new Error(`npm can't be run (${error.message}): install it together with Node`)
  if (status !== 0) {
    const isOffline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|network/i.test(stderr)
    throw new Error(
      isOffline
        ? "The dependencies can't be fetched: this machine does not reach the npm registry, connect it and try again"
        : `npm ci failed:\n${stderr
            .split('\n')
            .filter((line) => line.startsWith('npm error'))
            .slice(0, 8)
            .join('\n')}`,
    )
  }
  writeFileSync(STAMP, wanted)
}

function isBuildStale() {
  if (!existsSync(BUILT)) return true
  const built = statSync(BUILT).mtimeMs
  return SOURCES.some((source) => newest(join(ROOT, source)) > built)
}

function newest(path) {
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.mtimeMs
  let latest = 0
  for (const name of readdirSync(path)) {
    // Made by the build itself.
    if (name === 'generated') continue
    latest = Math.max(latest, newest(join(path, name)))
  }
  return latest
}

/** Two commands started together must not install over each other: the second waits. */
async function alone(work) {
  const lock = join(ROOT, '.setup-lock')
  for (;;) {
    try {
      mkdirSync(lock)
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      const age = existsSync(lock) ? Date.now() - statSync(lock).mtimeMs : 0
      if (age > LOCK_STALE_MS) rmSync(lock, { recursive: true, force: true })
      else await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  try {
    await work()
  } finally {
    rmSync(lock, { recursive: true, force: true })
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    await setup()
  } catch (error) {
    console.error(error.message)
    process.exitCode = 1
  }
}
