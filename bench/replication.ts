import { fork, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { initGateway, joinGateway, openGateway, type Gateway } from '../runtime/index.ts'

/**
 * Two gateways in two processes over MQTT, signed and encrypted, flushed on both sides: durable writes, live replication, the
 * same of an encrypted collection,
 * catch-up and the latency of a lone write at the peer. Documents of three fields. What arrived is compared by digest
 * outside the timed parts.
 */
export interface ReplicationFigures {
  readonly [name: string]: number
}

const DOCUMENTS = 50_000
const WRITERS = 1_000
const LONE_WRITES = 200
const LONE_PAUSE_MS = 10

export async function benchReplication(): Promise<ReplicationFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'marram-bench-'))
  const peer = new Peer()
  const figures: { [name: string]: number } = {}
  let gateway: Gateway | null = null
  try {
    initGateway({ dir: join(folder, 'a'), mesh: 'bench' })
    gateway = await openGateway({
      dir: join(folder, 'a'),
      profile: {
        schemaVersion: 1,
        id: 'bench',
        broker: { listen: ['mqtt://127.0.0.1:0'] },
        collections: { private: { encrypted: true }, '*': {} },
      },
    })
    const address = gateway.status().listeners[0] as string
    joinGateway({ dir: join(folder, 'b'), token: (await gateway.invite()).token })
    const open = { type: 'open', dir: join(folder, 'b'), bootstrap: address }
    await peer.ask(open, 'open')
    await linked(gateway)

    // Unoptimised code first, so that the figures below are those of a gateway that has been running.
    figures['cold replicated ops/s (20,000)'] = await live(gateway, peer, 'cold', 20_000)
    Object.assign(figures, await durable(gateway))
    const before = usage(gateway)
    figures['replicated ops/s (50,000)'] = await live(gateway, peer, 'live', DOCUMENTS)
    const after = usage(gateway)
    figures['wire bytes/op'] = (after.sent - before.sent) / DOCUMENTS
    figures['disk bytes/op (one side)'] = (after.written - before.written) / DOCUMENTS
    figures['CPU µs/op (writer)'] = (after.cpu - before.cpu) / DOCUMENTS
    await peer.ask({ type: 'keyed', collection: 'private' }, 'keyed')
    figures['encrypted replicated ops/s (50,000)'] = await live(gateway, peer, 'private', DOCUMENTS)
    const encrypted = usage(gateway)
    figures['encrypted wire bytes/op'] = (encrypted.sent - after.sent) / DOCUMENTS
    figures['encrypted CPU µs/op (writer)'] = (encrypted.cpu - after.cpu) / DOCUMENTS
    Object.assign(figures, await lone(gateway, peer))

    await peer.ask({ type: 'close' }, 'closed')
    await write(gateway, 'away', DOCUMENTS)
    const startedAt = now()
    await peer.ask(open, 'open')
    const counted = await peer.ask({ type: 'count-to', collection: 'away', count: DOCUMENTS }, 'counted')
    figures['catch-up ops/s (50,000, from process ready)'] = rate(DOCUMENTS, counted['at'] as number, startedAt)
    const seen = await peer.ask({ type: 'figures' }, 'figures')
    figures['RSS MiB (writer)'] = process.memoryUsage.rss() / 1_048_576
    figures['RSS MiB (peer)'] = (seen['rss'] as number) / 1_048_576
    checkEqual(gateway, seen['digest'])
    return figures
  } finally {
    await gateway?.close()
    peer.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function live(gateway: Gateway, peer: Peer, collection: string, count: number): Promise<number> {
  const startedAt = now()
  const counted = peer.ask({ type: 'count-to', collection, count }, 'counted')
  await write(gateway, collection, count)
  return rate(count, (await counted)['at'] as number, startedAt)
}

/** A thousand writers at once, each waiting for the disk before its next write. */
async function write(gateway: Gateway, name: string, count: number): Promise<void> {
  const collection = gateway.collection(name)
  let next = 0
  const writer = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) await collection.put(`sensor-${i}`, fieldsOf(i))
  }
  await Promise.all(Array.from({ length: WRITERS }, writer))
}

async function durable(gateway: Gateway): Promise<ReplicationFigures> {
  const collection = gateway.collection('durable')
  const times: number[] = []
  for (let i = 0; i < LONE_WRITES; i++) {
    const startedAt = now()
    await collection.put(`sensor-${i}`, fieldsOf(i))
    times.push(now() - startedAt)
    await pause(LONE_PAUSE_MS)
  }
  const startedAt = now()
  await write(gateway, 'durable-many', DOCUMENTS)
  return {
    'durable writes/s (1,000 writers)': rate(DOCUMENTS, now(), startedAt),
    'durable lone write ms p50': quantile(times, 0.5),
    'durable lone write ms p99': quantile(times, 0.99),
  }
}

/** From the call of `put` here to the watcher's event there. */
async function lone(gateway: Gateway, peer: Peer): Promise<ReplicationFigures> {
  await peer.ask({ type: 'watch', collection: 'lone' }, 'watching')
  const collection = gateway.collection('lone')
  const times: number[] = []
  for (let i = 0; i < LONE_WRITES; i++) {
    const startedAt = now()
    const seen = peer.next((message) => message['type'] === 'seen' && message['key'] === `sensor-${i}`)
    await collection.put(`sensor-${i}`, fieldsOf(i))
    times.push(((await seen)['at'] as number) - startedAt)
    await pause(LONE_PAUSE_MS)
  }
  return { 'write to peer ms p50': quantile(times, 0.5), 'write to peer ms p99': quantile(times, 0.99) }
}

function fieldsOf(i: number): { temperature: number; humidity: number; room: string } {
  return { temperature: 15 + (i % 200) / 10, humidity: 30 + (i % 60), room: `room ${i % 40}` }
}

function checkEqual(gateway: Gateway, theirs: unknown): void {
  const ours = gateway.digest().collections
  if (JSON.stringify(ours) !== JSON.stringify(theirs))
    throw new Error(`The gateways differ: ${JSON.stringify(ours)} and ${JSON.stringify(theirs)}`)
}

async function linked(gateway: Gateway): Promise<void> {
  while (gateway.status().links.up === 0) await pause(20)
}

function usage(gateway: Gateway): { sent: number; written: number; cpu: number } {
  const { user, system } = process.cpuUsage()
  return { sent: gateway.status().links.bytesSent, written: writtenBytes(), cpu: user + system }
}

/** Bytes this process made the kernel write to the disk. */
function writtenBytes(): number {
  return Number(/^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1] ?? 0)
}

type Message = { readonly [name: string]: unknown }

class Peer {
  readonly #child: ChildProcess = fork(join(import.meta.dirname, 'peer.js'))
  readonly #waiting = new Set<{ matches(message: Message): boolean; resolve(message: Message): void }>()

  constructor() {
    this.#child.on('message', (message: Message) => {
      for (const waiting of this.#waiting) {
        if (!waiting.matches(message)) continue
        this.#waiting.delete(waiting)
        waiting.resolve(message)
      }
    })
  }

  ask(request: object, answer: string): Promise<Message> {
    const answered = this.next((message) => message['type'] === answer)
    this.#child.send(request)
    return answered
  }

  next(matches: (message: Message) => boolean): Promise<Message> {
    return new Promise((resolve) => this.#waiting.add({ matches, resolve }))
  }

  kill(): void {
    this.#child.kill()
  }
}

function rate(count: number, endedAt: number, startedAt: number): number {
  return (count / (endedAt - startedAt)) * 1_000
}

function quantile(times: readonly number[], part: number): number {
  return times.toSorted((a, b) => a - b)[Math.floor((times.length - 1) * part)] ?? Number.NaN
}

function now(): number {
  return performance.timeOrigin + performance.now()
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
