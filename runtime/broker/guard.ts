import type { Socket } from 'node:net'
import { BROKER_LIMITS, type ClientLimits } from '../base/limits.ts'
import { PacketLengthGuard } from '../wire/packet-length.ts'
import { isLoopback } from './clients.ts'

/**
 * Stands between a socket and aedes, which takes what has come with `read`. Lengths are read before aedes gathers bytes: it
 * would otherwise collect a CONNECT of 268 MB from anybody. And while `isFull`, bytes stay where they are: aedes itself
 * reads on whenever more comes. It asks again after each packet that it is through with.
 */
export function guardReads(socket: Socket, isFull: () => boolean, onTooLong: () => void): PacketLengthGuard {
  const lengths = new PacketLengthGuard(BROKER_LIMITS.connectBytesMax)
  const read = socket.read.bind(socket)
  socket.read = (size?: number): unknown => {
    const chunk: unknown = isFull() ? null : read(size)
    if (!(chunk instanceof Uint8Array) || lengths.accept(chunk)) return chunk
    onTooLong()
    socket.destroy(new Error('the packet is too long'))
    return null
  }
  return lengths
}

/** Connections that are open, bounded in all and by address; a place is kept free for this machine's own. */
export class Connections {
  readonly #limits: ClientLimits
  readonly #addresses = new Map<string, number>()
  readonly #sockets = new Set<Socket>()
  #remote = 0

  constructor(limits: ClientLimits) {
    this.#limits = limits
  }

  /** False when there are too many: the socket is to be destroyed. */
  admit(socket: Socket): boolean {
    const address = socket.remoteAddress
    // Gone before it was accepted.
    if (address === undefined) return false
    const isRemote = !isLoopback(address)
    const fromThere = this.#addresses.get(address) ?? 0
    if (this.#sockets.size >= this.#limits.connectionsMax) return false
    if (isRemote && this.#remote >= this.#limits.remoteConnectionsMax) return false
    if (isRemote && fromThere >= this.#limits.connectionsPerAddressMax) return false
    this.#sockets.add(socket)
    if (isRemote) this.#remote += 1
    this.#addresses.set(address, fromThere + 1)
    socket.once('close', () => this.#release(socket, address, isRemote))
    return true
  }

  destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #release(socket: Socket, address: string, isRemote: boolean): void {
    this.#sockets.delete(socket)
    if (isRemote) this.#remote -= 1
    const left = (this.#addresses.get(address) ?? 1) - 1
    if (left === 0) this.#addresses.delete(address)
    else this.#addresses.set(address, left)
  }
}
