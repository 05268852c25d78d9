import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build, isBuilt } from './build.mjs'

/**
 * Makes a fresh clone ready to run: installs what package-lock.json says, and builds. Node's built-ins only, for it runs
 * before anything is installed. Does nothing, and says nothing, when there is nothing to do.
 */
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const STAMP = join(ROOT, 'node_modules/.marram-setup')
const LOCK = join(ROOT, '.setup-lock')
const NODE_MIN = [20, 19]
const PLATFORMS = ['linux-x64', 'linux-arm64', 'linux-arm', 'darwin-x64', 'darwin-arm64']
const NPM_CI = ['ci', '--ignore-scripts', '--include=dev', '--prefer-offline', '--no-audit', '--no-fund']
/** Two more tries, soon: without a network the answer should not take minutes. */
const NPM_RETRIES = ['--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000']

export async function setup() {
  const refusal = refusalOf(process)
  if (refusal) throw new Error(refusal)
  if (isInstalled() && isBuilt()) return
  await alone(async () => {
    if (!isInstalled()) install()
    if (isBuilt()) return
    console.error('Building…')
    await build()
  })
}

/** Why Marram doesn't run on this machine, or null. */
export function refusalOf({ versions, platform, arch }) {
  const [major, minor] = versions.node.split('.').map(Number)
  if (major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1]))
    return `Cannot run on Node ${versions.node}: it must be ${NODE_MIN.join('.')} or newer`
  const machine = `${platform}-${arch}`
  return PLATFORMS.includes(machine) ? null : `Cannot run on "${machine}": it must be one of ${PLATFORMS.join(', ')}`
}

/** A folder alone proves nothing: it may be half installed, or from another lock file or Node. */
function isInstalled() {
  return existsSync(STAMP) && readFileSync(STAMP, 'utf8') === wantedStamp()
}

function wantedStamp() {
  const lock = readFileSync(join(ROOT, 'package-lock.json'))
  return createHash('sha256')
    .update(lock)
    .update(`${process.versions.modules} ${process.platform} ${process.arch}`)
    .digest('hex')
}

function install() {
  console.error('Installing dependencies…')
  const { status, error, stderr } = spawnSync('npm', [...NPM_CI, ...NPM_RETRIES], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    env: environment(),
  })
  if (error) throw new Error(`Cannot run npm: ${error.message}, it must be installed together with Node`)
  if (status !== 0) throw new Error(installFailure(stderr))
  writeFileSync(STAMP, wantedStamp())
}

/** Without a home npm would make a folder named "~" here. */
function environment() {
  const hasHome = process.env.HOME !== undefined && existsSync(process.env.HOME)
  return hasHome
    ? process.env
    : { ...process.env, npm_config_cache: join(tmpdir(), `marram-npm-${process.getuid?.()}`) }
}

function installFailure(stderr) {
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|ENOTCACHED/.test(stderr))
    return 'Cannot fetch the dependencies: this machine does not reach the npm registry, connect it and try again'
  const lines = stderr.split('\n').filter((line) => line.startsWith('npm error'))
  return `Cannot install the dependencies:\n${lines.slice(0, 8).join('\n')}`
}

/** Two commands started together must not install over each other: the second waits, and finds the work done. */
async function alone(work) {
  while (!takeLock()) await pause(200)
  try {
    await work()
  } finally {
    rmSync(LOCK, { force: true })
  }
}

function takeLock() {
  try {
    writeFileSync(LOCK, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
    if (!isHeld()) rmSync(LOCK, { force: true })
    return false
  }
}

/** Whoever was interrupted leaves its lock behind: ESRCH says that no such process is alive. */
function isHeld() {
  try {
    const holder = Number(readFileSync(LOCK, 'utf8'))
    return holder === 0 || process.kill(holder, 0)
  } catch (error) {
    return error.code !== 'ESRCH'
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
