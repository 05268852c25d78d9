import { connect as connectSocket, isIP, type Socket } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { MqttClient } from 'mqtt'
import { equal } from '../base/bytes.ts'
import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { pinOf } from '../crypto/pin.ts'
import type { Address } from '../profile/address.ts'
import { PacketLengthGuard } from '../wire/packet-length.ts'

/** A connection to a neighbour's broker: frames out to one topic, frames in from our inbox. */
export interface Connection {
  /** False when the connection is gone or more than `bufferedBytesMax` wait in its socket. */
  send(payload: Uint8Array): boolean
  close(): void
}

export interface ConnectionOptions {
  readonly address: Address
  /** What the listener's certificate must hold where TLS is spoken; null takes any, for who is there is proven inside. */
  readonly pin: Uint8Array | null
  readonly user: string
  readonly password: Uint8Array
  readonly clientId: string
  /** Filter that we subscribe to, and topic that we publish to. */
  readonly inbox: string
  readonly outbox: string
  readonly onReady: () => void
  /** The bytes are the receiver's to keep. */
  readonly onFrame: (payload: Uint8Array) => void
  /** Once, whatever the reason; nothing comes after it. */
  readonly onClosed: (reason: string) => void
}

const CONNECT_MS = 10_000
const KEEPALIVE_SECONDS = 15
const BUFFERED_BYTES_MAX = 4_194_304
/** Topic and MQTT header around a frame. */
const PACKET_BYTES_MAX = PROTOCOL_LIMITS.frameBytesMax + 1_024

/**
 * MQTT 3.1.1, clean session, QoS 0, no retry of its own: the log is the queue and the dialler owns the retries. Nothing
 * of the client's stores or reconnecting is used.
 */
export function openConnection(options: ConnectionOptions): Connection {
  const { address, pin } = options
  const socket =
    address.protocol === 'mqtts'
      ? openTls(address)
      : connectSocket({ host: address.host, port: address.port, noDelay: true })
  let client: MqttClient | null = null
  let isClosed = false
  const closed = (reason: string): void => {
    if (isClosed) return
    isClosed = true
    clearTimeout(deadline)
    client?.end(true)
    socket.destroy()
    options.onClosed(reason)
  }
  const deadline = setTimeout(() => closed('the connection took too long'), CONNECT_MS)
  socket.on('error', (error) => closed(error.message))
  socket.on('close', () => closed('the connection was closed'))
  const speak = (): void => {
    client = clientOver(socket, options)
    client.on('error', (error) => closed(error.message))
    client.on('close', () => closed('the connection was closed'))
    client.on('connect', () => {
      clearTimeout(deadline)
      client?.subscribe(options.inbox, { qos: 0 }, (error, granted) => {
        if (error) closed(error.message)
        else if (granted?.some(({ qos }) => qos >= 128)) closed('the broker refused our inbox')
        else if (!isClosed) options.onReady()
      })
    })
    client.on('message', (_topic, payload) => {
      if (!isClosed) options.onFrame(new Uint8Array(payload))
    })
    client.connect()
  }
  // Nothing of ours is said before the certificate was seen.
  if (socket instanceof TLSSocket) {
    socket.once('secureConnect', () => {
      if (isPinned(socket, pin)) speak()
      else closed('its certificate is another than its address record says')
    })
  } else speak()
  return {
    send: (payload) => {
      if (isClosed || !client || socket.writableLength > BUFFERED_BYTES_MAX) return false
      client.publish(options.outbox, asBuffer(payload), { qos: 0 })
      return true
    },
    close: () => closed('closed by us'),
  }
}

function clientOver(socket: Socket, { clientId, user, password }: ConnectionOptions): MqttClient {
  const stream = (): Socket => {
    guard(socket)
    return socket
  }
  return new MqttClient(stream, {
    protocolVersion: 4,
    clientId,
    username: user,
    password: Buffer.from(password),
    clean: true,
    manualConnect: true,
    reconnectPeriod: 0,
    connectTimeout: CONNECT_MS,
    keepalive: KEEPALIVE_SECONDS,
    queueQoSZero: false,
    resubscribe: false,
    timerVariant: 'native',
  })
}

/**
 * Whose certificate it is doesn't matter: a board without a clock could not judge one, and the handshake inside proves who
 * is there. So none is asked for a name or a date.
 */
function openTls({ host, port }: Address): TLSSocket {
  const socket = connectTls({
    host,
    port,
    minVersion: 'TLSv1.3',
    rejectUnauthorized: false,
    ...(isIP(host) === 0 && !host.includes('%') && { servername: host }),
  })
  return socket.setNoDelay(true)
}

function isPinned(socket: TLSSocket, pin: Uint8Array | null): boolean {
  const certificate = socket.getPeerX509Certificate()
  return certificate !== undefined && (pin === null || equal(pinOf(certificate), pin))
}

/** What a hostile broker sends is cut off before the client's parser gathers it. */
function guard(socket: Socket): void {
  const lengths = new PacketLengthGuard(PACKET_BYTES_MAX)
  socket.on('data', (chunk: Buffer) => {
    if (!lengths.accept(chunk)) socket.destroy(new Error('the broker announced a packet that is too long'))
  })
  // The client waits for its parser to read: without this the guard's listener would start the flow before it.
  socket.pause()
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
