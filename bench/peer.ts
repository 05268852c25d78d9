import { openGateway } from '../runtime/index.ts'

/** The second process of the replication benchmark: a gateway that tells its parent what it sees. */

type Request =
  | { readonly type: 'open'; readonly dir: string; readonly bootstrap: string }
  | { readonly type: 'count-to'; readonly collection: string; readonly count: number }
  | { readonly type: 'watch'; readonly collection: string }
  | { readonly type: 'keyed'; readonly collection: string }
  | { readonly type: 'figures' }
  | { readonly type: 'close' }

let gateway: Awaited<ReturnType<typeof openGateway>> | null = null

process.on('message', (request: Request) => void answer(request))

async function answer(request: Request): Promise<void> {
  switch (request.type) {
    case 'open':
      gateway = await openGateway({
        dir: request.dir,
        profile: {
          schemaVersion: 1,
          id: 'bench-peer',
          broker: { listen: ['mqtt://127.0.0.1:0'] },
          mesh: { bootstrap: [request.bootstrap] },
        },
      })
      return say({ type: 'open' })
    case 'count-to':
      while ((gateway?.collection(request.collection).count() ?? 0) < request.count) await turn()
      return say({ type: 'counted', at: now() })
    case 'keyed':
      while (gateway?.status().encryption[request.collection]?.readable !== true) await turn()
      return say({ type: 'keyed' })
    case 'watch':
      void watch(request.collection)
      return say({ type: 'watching' })
    case 'figures':
      return say({
        type: 'figures',
        digest: gateway?.digest().collections ?? {},
        rss: process.memoryUsage.rss(),
        cpu: process.cpuUsage(),
        links: gateway?.status().links,
      })
    case 'close':
      await gateway?.close()
      gateway = null
      return say({ type: 'closed' })
  }
}

async function watch(collection: string): Promise<void> {
  for await (const event of gateway?.collection(collection).watch() ?? [])
    say({ type: 'seen', key: event.key, at: now() })
}

function say(message: object): void {
  process.send?.(message)
}

/** Milliseconds on a clock that both processes share. */
function now(): number {
  return performance.timeOrigin + performance.now()
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 2))
}
