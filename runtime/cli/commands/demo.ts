import { InvalidArgumentError, type Command } from 'commander'
import { SimulatedDevices } from '../demo/devices.ts'
import { DemoMesh, type DemoGateway } from '../demo/gateways.ts'
import { Screen } from '../demo/screen.ts'
import type { DocumentView, StatusView } from '../../ports/operations.ts'
import { run, type Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'

/** The shortest run in which a cut, writes on both sides and the healing can be seen. */
const SECONDS_MIN = 8
const SECONDS_OF_STORY = 24
const CONVERGENCE_MS = 20_000

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description(
      'three gateways on this machine with simulated sensors: cuts a link, writes on both sides, heals, compares',
    )
    .option('--seconds <n>', 'end by itself after so many seconds', seconds)
    .addHelpText('after', '\nExample:\n  marram demo --seconds 20')
    .action((options: { seconds?: number }, command: Command) =>
      run(command, (context) => demonstrate(context, options.seconds)),
    )
}

interface Outcome {
  readonly ok: boolean
  readonly gateways: readonly {
    readonly peerId: string
    readonly pid: number
    readonly documents: number
    readonly digest: string
  }[]
  readonly acknowledged: number
  readonly lost: number
}

async function demonstrate(context: Context, seconds: number | undefined): Promise<void> {
  const mesh = new DemoMesh()
  const devices = new SimulatedDevices()
  const screen = new Screen(context.isJson)
  const interrupted = interruption(mesh)
  try {
    screen.say('Starting three gateways, each its own process and store, in a line: greenhouse - plant-room - shop')
    await mesh.start()
    const [greenhouse, plantRoom, shop] = mesh.gateways as [DemoGateway, DemoGateway, DemoGateway]
    await devices.add(greenhouse.port, 'zigbee2mqtt', ['bench', 'door', 'soil/north'])
    await devices.add(plantRoom.port, 'tasmota', ['pump', 'fan'])
    await devices.add(shop.port, 'zigbee2mqtt', ['counter', 'window'])
    screen.say('Zigbee2MQTT sensors publish to greenhouse and shop, Tasmota plugs to plant-room, over ordinary MQTT')
    const refresh = setInterval(() => void show(screen, mesh), 1_000)
    try {
      do await tellStory(screen, mesh, (seconds ?? SECONDS_OF_STORY) * 1_000, interrupted)
      while (seconds === undefined && !interrupted.aborted)
    } finally {
      clearInterval(refresh)
    }
    await devices.stop()
    const outcome = await judge(mesh, devices)
    screen.conclude(outcome)
    context.print(outcome, outcome.ok ? 'ok' : 'NOT ok')
    if (!outcome.ok) process.exitCode = EXIT.failed
  } finally {
    await devices.stop()
    await mesh.stop()
  }
}

async function tellStory(screen: Screen, mesh: DemoMesh, ms: number, interrupted: AbortSignal): Promise<void> {
  const [greenhouse, , shop] = mesh.gateways as [DemoGateway, DemoGateway, DemoGateway]
  const cable = mesh.cables[1]
  const startedAt = performance.now()
  const until = (part: number): Promise<void> => pause(ms * part - (performance.now() - startedAt), interrupted)
  await until(0.3)
  if (interrupted.aborted) return
  screen.say('Cutting the link between plant-room and shop')
  cable?.cut()
  await until(0.4)
  screen.say('Writing to the same document on both sides: greenhouse sets "fan", shop sets "light"')
  await greenhouse.client.json('PATCH', 'collections/climate/documents/setpoints', { fan: 'high', by: 'greenhouse' })
  await shop.client.json('PATCH', 'collections/climate/documents/setpoints', { light: 'off', by: 'shop' })
  await until(0.65)
  screen.say('Mending the link: each side gets only what it lacks')
  cable?.mend()
  await until(1)
}

async function show(screen: Screen, mesh: DemoMesh): Promise<void> {
  try {
    const statuses = await Promise.all(mesh.gateways.map((gateway) => gateway.status()))
    screen.table(mesh.gateways.map(({ name }, i) => ({ name, status: statuses[i] as StatusView })))
  } catch {
    // A gateway that is just stopping has nothing to show.
  }
}

/** Waits until all digests are equal, then looks for every acknowledged message on every gateway. */
async function judge(mesh: DemoMesh, devices: SimulatedDevices): Promise<Outcome> {
  const deadline = performance.now() + CONVERGENCE_MS
  let statuses: StatusView[] = []
  do {
    await pause(200)
    statuses = await Promise.all(mesh.gateways.map((gateway) => gateway.status()))
  } while (new Set(statuses.map(digestOf)).size > 1 && performance.now() < deadline)
  const gateways = mesh.gateways.map(({ peerId, pid }, i) => {
    const status = statuses[i] as StatusView
    const documents = Object.values(status.collections).reduce((sum, { count }) => sum + count, 0)
    return { peerId, pid, documents, digest: digestOf(status) }
  })
  let lost = 0
  for (const gateway of mesh.gateways) lost += await missing(gateway, devices)
  const ok = lost === 0 && new Set(gateways.map(({ digest }) => digest)).size === 1 && devices.acknowledged > 0
  return { ok, gateways, acknowledged: devices.acknowledged, lost }
}

/** Acknowledged messages that a gateway doesn't show: each device's document must be at its last acknowledged message or beyond. */
async function missing(gateway: DemoGateway, devices: SimulatedDevices): Promise<number> {
  let count = 0
  for (const { collection, key, field, acknowledged } of devices.devices) {
    if (acknowledged === 0) continue
    const path = `collections/${collection}/documents/${encodeURIComponent(key)}`
    const document = (await gateway.client.json('GET', path)) as DocumentView
    count += Math.max(0, acknowledged - Number(document.value[field] ?? 0))
  }
  return count
}

function digestOf(status: StatusView): string {
  return Object.values(status.collections)
    .map(({ digest }) => digest)
    .join('')
}

/** Ctrl-C ends the story, and what was started is stopped in order; a second one kills it. */
function interruption(mesh: DemoMesh): AbortSignal {
  const controller = new AbortController()
  const stop = (): void => {
    if (controller.signal.aborted) mesh.kill()
    controller.abort()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  return controller.signal
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (ms <= 0 || signal?.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done)
  })
}

function seconds(text: string): number {
  const value = Number(text)
  if (Number.isFinite(value) && value >= SECONDS_MIN) return value
  throw new InvalidArgumentError(`it must be a number of at least ${SECONDS_MIN}`)
}
