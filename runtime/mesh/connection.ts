import { connect as connectSocket, type Socket } from 'node:net'
import { MqttClient } from 'mqtt'
import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { PacketLengthGuard } from '../wire/packet-length.ts'
import type { BrokerAddress } from './address.ts'

/** A connection to a neighbour's broker: frames out to one topic, frames in from our inbox. */
export interface Connection {
  /** False when the connection is gone or more than `bufferedBytesMax` wait in its socket. */
  send(payload: Uint8Array): boolean
  close(): void
}

export interface ConnectionOptions {
  readonly address: BrokerAddress
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
  let socket: Socket | null = null
  let isClosed = false
  const client = new MqttClient(
    () => {
      socket = connectSocket({ host: options.address.host, port: options.address.port, noDelay: true })
      guard(socket)
      return socket
    },
    {
      protocolVersion: 4,
      clientId: options.clientId,
      username: options.user,
      password: Buffer.from(options.password),
      clean: true,
      manualConnect: true,
      reconnectPeriod: 0,
      connectTimeout: CONNECT_MS,
      keepalive: KEEPALIVE_SECONDS,
      queueQoSZero: false,
      resubscribe: false,
      timerVariant: 'native',
    },
  )
  const closed = (reason: string): void => {
    if (isClosed) return
    isClosed = true
    client.end(true)
    socket?.destroy()
    options.onClosed(reason)
  }
  client.on('error', (error) => closed(error.message))
  client.on('close', () => closed('the connection was closed'))
  client.on('connect', () => {
    client.subscribe(options.inbox, { qos: 0 }, (error, granted) => {
      if (error) closed(error.message)
      else if (granted?.some(({ qos }) => qos >= 128)) closed('the broker refused our inbox')
      else if (!isClosed) options.onReady()
    })
  })
  client.on('message', (_topic, payload) => {
    if (!isClosed) options.onFrame(new Uint8Array(payload))
  })
  client.connect()
  return {
    send: (payload) => {
      if (isClosed || !socket || socket.writableLength > BUFFERED_BYTES_MAX) return false
      client.publish(options.outbox, asBuffer(payload), { qos: 0 })
      return true
    },
    close: () => closed('closed by us'),
  }
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
