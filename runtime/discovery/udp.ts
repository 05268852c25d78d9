import { createSocket, type Socket } from 'node:dgram'
import { networkInterfaces } from 'node:os'
import { sentenceOf } from '../base/errors.ts'
import { DISCOVERY_LIMITS } from '../base/limits.ts'
import type { Log } from '../ports/log.ts'
import type { Network } from './network.ts'

const GROUP = '224.0.0.251'
const PORT = 5_353
/** RFC 6762 11: so that a receiver can tell that it came from the same link. */
const HOPS = 255

interface Sender {
  readonly socket: Socket
  isReady: boolean
}

/**
 * One socket hears the group on every interface; bound to the group's address it gets nothing else (Linux). To each
 * interface a socket of its own sends, bound to its address: so no default route is needed, and a packet's source is an
 * address that its receiver can dial. An error ends a socket, which the next look opens again, and nothing else.
 */
export class UdpNetwork implements Network {
  readonly #log: Log
  readonly #interfaces: typeof networkInterfaces
  readonly #senders = new Map<string, Sender>()
  #receiver: Socket | null = null
  #isListening = false
  #onPacket: (packet: Buffer, source: string) => void = () => {}
  /** What was logged last: a failure that stays is told once. */
  #failure = ''

  constructor(log: Log, interfaces: typeof networkInterfaces = networkInterfaces) {
    this.#log = log
    this.#interfaces = interfaces
  }

  listen(onPacket: (packet: Buffer, source: string) => void): void {
    this.#onPacket = onPacket
  }

  refresh(): readonly string[] {
    const addresses = this.#addresses()
    for (const [address, { socket }] of this.#senders) {
      if (addresses.includes(address)) continue
      this.#senders.delete(address)
      attempt(() => this.#receiver?.dropMembership(GROUP, address))
      attempt(() => socket.close())
    }
    if (!this.#receiver) this.#openReceiver()
    // Where we are a member already this fails; where an interface had been away we are one again.
    else if (this.#isListening) for (const address of addresses) this.#join(address)
    for (const address of addresses) if (!this.#senders.has(address)) this.#openSender(address)
    return addresses
  }

  send(packet: Uint8Array, from: string): void {
    const sender = this.#senders.get(from)
    if (sender?.isReady) sender.socket.send(packet, PORT, GROUP, () => {})
  }

  close(): void {
    for (const socket of [this.#receiver, ...[...this.#senders.values()].map((sender) => sender.socket)])
      attempt(() => socket?.close())
    this.#senders.clear()
    this.#receiver = null
  }

  /** Those of before where the machine doesn't say: it takes a file descriptor, and a kind of socket that a sandbox may forbid. */
  #addresses(): readonly string[] {
    try {
      return addressesOf(this.#interfaces())
    } catch (error) {
      this.#tell(`multicast DNS cannot look at the interfaces: ${sentenceOf(error)}`)
      return [...this.#senders.keys()]
    }
  }

  #openReceiver(): void {
    const receiver = this.#socket('can hear nobody', () => {
      this.#receiver = null
      this.#isListening = false
    })
    this.#receiver = receiver
    receiver.on('message', (packet, { address }) => this.#onPacket(packet, address))
    receiver.bind(PORT, GROUP, () => {
      this.#isListening = true
      for (const address of this.#senders.keys()) this.#join(address)
    })
  }

  #openSender(address: string): void {
    const socket = this.#socket(`cannot send from ${address}`, () => this.#senders.delete(address))
    const sender: Sender = { socket, isReady: false }
    this.#senders.set(address, sender)
    socket.bind(PORT, address, () => {
      attempt(() => {
        socket.setMulticastInterface(address)
        socket.setMulticastTTL(HOPS)
        socket.setMulticastLoopback(true)
        sender.isReady = true
      })
      if (this.#isListening) this.#join(address)
    })
  }

  #join(address: string): void {
    attempt(() => this.#receiver?.addMembership(GROUP, address))
  }

  #socket(what: string, onEnd: () => void): Socket {
    const socket = createSocket({ type: 'udp4', reuseAddr: true })
    socket.unref()
    socket.on('error', (error) => {
      this.#tell(`multicast DNS ${what}: ${error.message}`)
      onEnd()
      attempt(() => socket.close())
    })
    return socket
  }

  #tell(message: string): void {
    if (message !== this.#failure) this.#log.warn('discovery-failed', { message })
    this.#failure = message
  }
}

function addressesOf(interfaces: ReturnType<typeof networkInterfaces>): string[] {
  const all = Object.values(interfaces).flatMap((addresses) => {
    const first = addresses?.find(({ family, internal }) => family === 'IPv4' && !internal)
    return first ? [first.address] : []
  })
  return all.slice(0, DISCOVERY_LIMITS.interfacesMax)
}

function attempt(act: () => void): void {
  try {
    act()
  } catch {
    // The interface is gone, or the socket closed: the next look finds out.
  }
}
