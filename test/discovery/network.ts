import type { Network } from '../../runtime/discovery/network.ts'

/** Local networks in memory: what a gateway sends on one, everybody on it hears, the sender too. */
export class TestNetwork {
  readonly #hosts: TestHost[] = []

  /** A host with one interface on each of these networks: `10.0.0.1` is on the network `10.0.0`. */
  host(...addresses: string[]): TestHost {
    const host = new TestHost(this, addresses)
    this.#hosts.push(host)
    return host
  }

  deliver(packet: Uint8Array, from: string): void {
    for (const host of this.#hosts)
      if (host.addresses.some((address) => networkOf(address) === networkOf(from))) host.hear(packet, from)
  }
}

export class TestHost implements Network {
  addresses: string[]
  /** What it sent, and from which address. */
  readonly sent: { readonly packet: Buffer; readonly from: string }[] = []
  readonly #network: TestNetwork
  #onPacket: (packet: Buffer, source: string) => void = () => {}
  #speaksOn: readonly string[] = []

  constructor(network: TestNetwork, addresses: string[]) {
    this.#network = network
    this.addresses = addresses
  }

  listen(onPacket: (packet: Buffer, source: string) => void): void {
    this.#onPacket = onPacket
  }

  refresh(): readonly string[] {
    this.#speaksOn = [...this.addresses]
    return this.#speaksOn
  }

  send(packet: Uint8Array, from: string): void {
    if (!this.#speaksOn.includes(from)) return
    this.sent.push({ packet: Buffer.from(packet), from })
    this.#network.deliver(packet, from)
  }

  hear(packet: Uint8Array, source: string): void {
    if (this.#speaksOn.length > 0) this.#onPacket(Buffer.from(packet), source)
  }

  close(): void {
    this.#speaksOn = []
  }
}

function networkOf(address: string): string {
  return address.slice(0, address.lastIndexOf('.'))
}
