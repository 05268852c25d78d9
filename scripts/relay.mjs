import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'

/**
 * Starts a broker that gateways can meet at, of the packages that Debian has, to try relays with:
 * `node scripts/relay.mjs mosquitto|nats|rabbitmq [--port 1883] [--user NAME --password TEXT]`. It takes anyone unless a user
 * is named (Mosquitto only), says "ready" when it takes connections, and leaves nothing behind when it is ended.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { port: { type: 'string', default: '1883' }, user: { type: 'string' }, password: { type: 'string' } },
})
const READY_MS = 60_000

const BROKERS = {
  mosquitto: { command: 'mosquitto', start: mosquitto },
  nats: { command: 'nats-server', start: nats },
  rabbitmq: { command: '/usr/lib/rabbitmq/bin/rabbitmq-server', start: rabbitmq },
}

const [name] = positionals
const port = Number(values.port)
if (!Object.hasOwn(BROKERS, name ?? '')) fail(2, `Cannot start "${name}": it must be mosquitto, nats or rabbitmq`)
else if (!(Number.isInteger(port) && port > 0 && port < 65_536))
  fail(2, `Cannot listen on "${values.port}": it must be a port`)
else await run(BROKERS[name])

async function run({ command, start }) {
  const dir = mkdtempSync(join(tmpdir(), 'marram-relay-'))
  const { args, env } = start(dir)
  const broker = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env } })
  broker.on('error', () =>
    fail(
      1,
      `Cannot start ${command}: it isn't installed, install the package ${name === 'mosquitto' ? name : `${name}-server`}`,
    ),
  )
  broker.on('exit', (code) => {
    rmSync(dir, { recursive: true, force: true })
    process.exit(code ?? 1)
  })
  for (const signal of ['SIGINT', 'SIGTERM'])
    process.on(signal, () => broker.kill(name === 'rabbitmq' ? 'SIGTERM' : signal))
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
  if (await answers()) console.log('ready')
  else fail(1, `Cannot start ${command}: it takes no connections on port ${port} after ${READY_MS / 1_000} s`)
}

function mosquitto(dir) {
  const config = [`listener ${port}`, `allow_anonymous ${values.user === undefined}`]
  if (values.user !== undefined) {
    const passwords = join(dir, 'passwords')
    spawnSync('mosquitto_passwd', ['-b', '-c', passwords, values.user, values.password ?? ''])
    config.push(`password_file ${passwords}`)
  }
  // It gives up root's rights unless it is told otherwise, and then could not read its own configuration.
  config.push(`user ${process.env.USER ?? 'root'}`)
  return { args: ['-c', written(dir, 'mosquitto.conf', config)] }
}

function nats(dir) {
  const config = [
    'server_name: relay',
    'listen: "127.0.0.1:-1"',
    `mqtt { port: ${port} }`,
    `jetstream { store_dir: "${dir}" }`,
  ]
  return { args: ['-c', written(dir, 'nats.conf', config)] }
}

function rabbitmq(dir) {
  const config = written(dir, 'rabbitmq.conf', [
    'listeners.tcp = none',
    `mqtt.listeners.tcp.default = ${port}`,
    'mqtt.allow_anonymous = true',
    'mqtt.default_user = guest',
    'mqtt.default_pass = guest',
    'loopback_users = none',
  ])
  return {
    args: [],
    env: {
      HOME: dir,
      RABBITMQ_NODENAME: `relay${port}@localhost`,
      RABBITMQ_CONFIG_FILE: config,
      RABBITMQ_ENABLED_PLUGINS_FILE: written(dir, 'plugins', ['[rabbitmq_mqtt].']),
      RABBITMQ_MNESIA_BASE: join(dir, 'data'),
      RABBITMQ_LOG_BASE: join(dir, 'log'),
      RABBITMQ_DIST_PORT: String(port > 40_000 ? port - 20_000 : port + 20_000),
    },
  }
}

function written(dir, file, lines) {
  const path = join(dir, file)
  writeFileSync(path, `${lines.join('\n')}\n`)
  return path
}

async function answers() {
  for (const end = Date.now() + READY_MS; Date.now() < end; await pause(100)) {
    const isOpen = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
    if (isOpen) return true
  }
  return false
}

function fail(code, sentence) {
  console.error(sentence)
  process.exit(code)
}
