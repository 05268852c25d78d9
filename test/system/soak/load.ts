import { setTimeout as sleep } from 'node:timers/promises'
import { openPublisher } from '../../../runtime/mesh/publisher.ts'
import type { SoakGateway } from './mesh.ts'

const DEVICES = 3

/** Devices and commands at every gateway. Each key has one writer, whose numbers rise: a greater one supersedes. */
export class Load {
  /** Keys of `climate`, and the greatest number that was acknowledged to each. */
  readonly acknowledged: Map<string, number> = new Map()
  writes: number = 0
  #isOver = false
  readonly #ends: (() => Promise<void>)[] = []

  /** `intervalMs` lies between the acknowledgement of one write and the next write of the same key. */
  async start(gateways: readonly SoakGateway[], intervalMs: number): Promise<void> {
    for (const [i, { client, host, process }] of gateways.entries()) {
      const publisher = await openPublisher({ host, port: process.port }, `soak-${i}`)
      this.#ends.push(() => publisher.close())
      for (let k = 0; k < DEVICES; k++) {
        const key = `g${i}-device-${k}`
        void this.#write(key, intervalMs, (n) => publisher.publish(`zigbee2mqtt/${key}`, JSON.stringify({ n })))
      }
      const key = `g${i}-command`
      const path = `collections/climate/documents/${key}`
      void this.#write(key, intervalMs, (n) => client.json('PATCH', path, { n }))
    }
  }

  async stop(): Promise<void> {
    this.#isOver = true
    for (const end of this.#ends) await end()
  }

  async #write(key: string, intervalMs: number, write: (n: number) => Promise<unknown>): Promise<void> {
    for (let n = 1; !this.#isOver; n++) {
      try {
        await write(n)
        this.acknowledged.set(key, n)
        this.writes += 1
      } catch {
        // It was not acknowledged: it may be there or not.
      }
      await sleep(intervalMs, undefined, { ref: false })
    }
  }
}
