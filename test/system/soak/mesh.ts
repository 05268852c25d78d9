import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clientOf, type Client } from '../../../runtime/cli/client.ts'
import type { StatusView } from '../../../runtime/ports/operations.ts'
import { initGateway, joinGateway } from '../../../runtime/setup.ts'
import { GatewayProcess, until, type StartOptions } from '../../end-to-end/harness.ts'
import { FaultyCable } from './cable.ts'
import { Namespaces } from './namespaces.ts'

export type Network = 'proxy' | 'namespaces'
/** A ring with chords, or all at the first one, which knows of nobody else. */
export type Shape = 'ring' | 'hub'

const NAMESPACE_PORT = 1883
/** Of this process alone, so that nobody takes a gateway's port while it is away. */
const LOOPBACK = `127.${64 + ((process.pid >> 8) % 128)}.${process.pid % 256}`
const HUB_SET = ['mesh.discovery=["bootstrap"]', 'mesh.links={"min":1,"max":32}']
const ENROLLED_MS = 120_000

export interface SoakGateway {
  readonly process: GatewayProcess
  readonly client: Client
  readonly host: string
  /** Resolves when it serves. */
  start(): Promise<void>
  status(): Promise<StatusView>
}

/** Real gateways over cables that can be faulty or from network namespaces. */
export class SoakMesh {
  readonly gateways: SoakGateway[] = []
  readonly cables: FaultyCable[] = []
  readonly namespaces: Namespaces | null
  readonly #folder: string = mkdtempSync(join(tmpdir(), 'marram-soak-'))
  readonly #count: number
  readonly #shape: Shape

  constructor(count: number, network: Network, shape: Shape) {
    this.#count = count
    this.#shape = shape
    this.namespaces = network === 'namespaces' ? new Namespaces(count) : null
  }

  async start(): Promise<void> {
    await this.namespaces?.add()
    for (let i = 0; i < this.#count; i++) this.gateways.push(await this.#gateway(i))
    const [founder, ...others] = this.gateways as [SoakGateway, ...SoakGateway[]]
    initGateway({ dir: founder.process.dir, mesh: 'soak' })
    await founder.start()
    for (const gateway of others) {
      const { token } = (await founder.client.json('POST', 'invites', {})) as { token: string }
      joinGateway({ dir: gateway.process.dir, token })
      await gateway.start()
    }
    const isEnrolled = async (): Promise<boolean> => {
      for (const gateway of others) if (!(await gateway.status()).enrolled) return false
      return true
    }
    await until('every gateway is enrolled', isEnrolled, ENROLLED_MS)
  }

  /** No process, namespace or folder is left. */
  async remove(): Promise<void> {
    await Promise.all(this.gateways.map(({ process }) => process.stop('SIGKILL')))
    for (const cable of this.cables) cable.remove()
    this.namespaces?.remove()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #gateway(i: number): Promise<SoakGateway> {
    const gateway = new GatewayProcess(join(this.#folder, `g${i}`))
    const host = this.namespaces?.host(i) ?? `${LOOPBACK}.${i + 1}`
    const bootstrap: string[] = []
    for (const neighbour of neighboursOf(i, this.#count, this.#shape)) bootstrap.push(await this.#addressOf(neighbour))
    const options: StartOptions = {
      host,
      bootstrap,
      set: ['broker.anonymous=all', `node.name=g${i}`, ...(this.#shape === 'hub' ? HUB_SET : [])],
      detached: true,
      ...(this.namespaces ? { within: this.namespaces.within(i), port: NAMESPACE_PORT } : {}),
    }
    const client = clientOf(gateway.dir)
    return {
      process: gateway,
      client,
      host,
      start: () => gateway.start(options),
      status: () => client.json('GET', 'status') as Promise<StatusView>,
    }
  }

  async #addressOf(i: number): Promise<string> {
    if (this.namespaces) return `mqtt://${this.namespaces.host(i)}:${NAMESPACE_PORT}`
    const cable = await FaultyCable.lay(`${LOOPBACK}.254`, () => {
      const { host, process } = this.gateways[i] as SoakGateway
      return { host, port: process.port }
    })
    this.cables.push(cable)
    return cable.address
  }
}

/** Whom a gateway dials: the one before it, the last also the first, and in larger meshes every other one its opposite. */
function neighboursOf(i: number, count: number, shape: Shape): number[] {
  if (shape === 'hub') return i === 0 ? [] : [0]
  const neighbours = i === 0 ? [] : [i - 1]
  if (i === count - 1 && count > 2) neighbours.push(0)
  const opposite = i - count / 2
  if (count >= 6 && count % 2 === 0 && opposite >= 0 && opposite % 2 === 0) neighbours.push(opposite)
  return neighbours
}
