import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'

const NAMES = [
  '',
  'connect',
  'connack',
  'publish',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'subscribe',
  'suback',
  'unsubscribe',
  'unsuback',
] as const
type Kind = (typeof NAMES)[number]

interface RawPacket {
  readonly kind: Kind | undefined
  readonly firstByte: number
  /** What follows the fixed header. */
  readonly body: Buffer
}

/** A client that says and does exactly what a test tells it, well-behaved or not. Packets are those of [MQTT-2, MQTT-3]. */
export class RawClient {
  readonly socket: Socket
  readonly #packets: RawPacket[] = []
  #bytes: Buffer = Buffer.alloc(0)
  #wake: () => void = () => {}

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (bytes) => this.#read(bytes))
    socket.on('error', () => {})
    socket.on('close', () => this.#wake())
  }

  /** A socket on which nothing was said. */
  static async dial(port: number): Promise<RawClient> {
    const socket = connectSocket(port, '127.0.0.1')
    await once(socket, 'connect')
    return new RawClient(socket)
  }

  /** Connected with a session that lasts. */
  static async open(port: number, clientId: string): Promise<RawClient> {
    const client = await RawClient.dial(port)
    client.connect(clientId, { clean: false })
    await client.until('connack')
    return client
  }

  connect(clientId: string, { clean, user, password }: { clean: boolean; user?: string; password?: string }): void {
    const flags = (clean ? 2 : 0) | (user === undefined ? 0 : 128) | (password === undefined ? 0 : 64)
    const texts = [clientId, user, password].filter((part) => part !== undefined).map(text)
    this.send(0x10, text('MQTT'), Buffer.from([4, flags, 0, 0]), ...texts)
  }

  connectWithWill(clientId: string, topic: string, payload: string): void {
    this.send(0x10, text('MQTT'), Buffer.from([4, 6, 0, 0]), ...[clientId, topic, payload].map(text))
  }

  publish(
    messageId: number,
    topic: string,
    payload: string,
    { qos, dup = false }: { qos: 1 | 2; dup?: boolean },
  ): void {
    this.send(0x30 | (dup ? 8 : 0) | (qos << 1), text(topic), short(messageId), Buffer.from(payload))
  }

  release(messageId: number): void {
    this.send(0x62, short(messageId))
  }

  subscribe(filter: string, qos: number): void {
    this.send(0x82, short(1), text(filter), Buffer.from([qos]))
  }

  unsubscribe(filter: string): void {
    this.send(0xa2, short(1), text(filter))
  }

  send(firstByte: number, ...parts: readonly Buffer[]): void {
    const body = Buffer.concat(parts)
    const length: number[] = []
    for (let left = body.length; ; left >>= 7) {
      length.push((left & 127) | (left > 127 ? 128 : 0))
      if (left <= 127) break
    }
    this.socket.write(Buffer.concat([Buffer.from([firstByte, ...length]), body]))
  }

  /** Takes the next packet of that kind among those that have come. */
  take(kind: Kind): RawPacket | undefined {
    const at = this.#packets.findIndex((packet) => packet.kind === kind)
    return at >= 0 ? this.#packets.splice(at, 1)[0] : undefined
  }

  /** Takes the next packet of that kind; undefined when the connection ended instead. */
  async until(kind: Kind): Promise<RawPacket | undefined> {
    for (;;) {
      const packet = this.take(kind)
      if (packet || this.socket.destroyed) return packet
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  async closed(): Promise<void> {
    if (!this.socket.destroyed) await once(this.socket, 'close')
  }

  end(): void {
    this.socket.destroy()
  }

  #read(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    for (;;) {
      let length = 0
      let at = 1
      for (let shift = 0; ; shift += 7) {
        const byte = this.#bytes[at++]
        if (byte === undefined) return
        length |= (byte & 127) << shift
        if (byte < 128) break
      }
      if (this.#bytes.length < at + length) return
      const firstByte = this.#bytes[0] ?? 0
      this.#packets.push({ kind: NAMES[firstByte >> 4], firstByte, body: this.#bytes.subarray(at, at + length) })
      this.#bytes = this.#bytes.subarray(at + length)
      this.#wake()
    }
  }
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([short(bytes.length), bytes])
}

function short(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255])
}
