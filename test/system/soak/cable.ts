import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What can be wrong with a cable. Of `delay` each chunk waits so long; `throttle` lets so many bytes a second pass each way. */
export type CableFault =
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'throttle'; readonly bytesPerSecond: number }
  /** Connections are reset, and new ones too. */
  | { readonly kind: 'reset' }
  /** Nothing passes and nobody is told; what waits passes when it is mended. */
  | { readonly kind: 'silent' }
  /** What was connected is reset; new connections are accepted and lead nowhere. */
  | { readonly kind: 'half-open' }

const CHUNK_BYTES = 16_384

/** A TCP proxy in front of one gateway: the cable between two, which can be faulty in the ways that cables and modems are. */
export class FaultyCable {
  readonly #to: () => { readonly host: string; readonly port: number }
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #fault: CableFault | null = null
  #changed: { readonly promise: Promise<void>; readonly resolve: () => void } = signal()

  private constructor(server: Server, to: () => { readonly host: string; readonly port: number }) {
    this.#server = server
    this.#to = to
  }

  /** `to` is asked at each connection, for gateways start after their cables are laid. */
  static async lay(host: string, to: () => { readonly host: string; readonly port: number }): Promise<FaultyCable> {
    const server = createServer({ highWaterMark: CHUNK_BYTES })
    const cable = new FaultyCable(server, to)
    server.on('connection', (near) => cable.#connect(near))
    server.listen(0, host)
    await once(server, 'listening')
    return cable
  }

  get address(): string {
    const bound = this.#server.address()
    return typeof bound === 'object' && bound ? `mqtt://${bound.address}:${bound.port}` : ''
  }

  /** Null mends it. */
  set(fault: CableFault | null): void {
    const isDead = this.#fault?.kind === 'half-open' || fault?.kind === 'half-open' || fault?.kind === 'reset'
    this.#fault = fault
    if (isDead) for (const socket of this.#sockets) socket.resetAndDestroy()
    const { resolve } = this.#changed
    this.#changed = signal()
    resolve()
  }

  remove(): void {
    this.set({ kind: 'reset' })
    this.#server.close()
  }

  #connect(near: Socket): void {
    this.#keep(near)
    if (this.#fault?.kind === 'reset') return void near.resetAndDestroy()
    if (this.#fault?.kind === 'half-open') return void near.resume()
    const far = connect(this.#to())
    this.#keep(far)
    void this.#pump(near, far)
    void this.#pump(far, near)
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
  }

  async #pump(from: Socket, to: Socket): Promise<void> {
    const closed = once(to, 'close').catch(() => {})
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        await this.#pass(chunk.length)
        if (to.destroyed) break
        if (!to.write(chunk)) await Promise.race([once(to, 'drain'), closed])
      }
    } catch {
      // Either end was reset: so is the other.
    }
    from.destroy()
    to.destroy()
  }

  /** Resolves when so many bytes may pass. */
  async #pass(bytes: number): Promise<void> {
    while (this.#fault?.kind === 'silent') await this.#changed.promise
    const ms = waitOf(this.#fault, bytes)
    if (ms > 0) await Promise.race([sleep(ms, undefined, { ref: false }), this.#changed.promise])
  }
}

function waitOf(fault: CableFault | null, bytes: number): number {
  if (fault?.kind === 'delay') return fault.ms
  return fault?.kind === 'throttle' ? (bytes / fault.bytesPerSecond) * 1_000 : 0
}

function signal(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}
