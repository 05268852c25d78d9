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

export function openConnection(options: ConnectionOptions): Connection {
  const { address, pin, user, password, clientId, inbox, outbox, onReady, onFrame, onClosed } = options
  const client = openClient({
    address,
    check: { type: 'pin', pin },
    login: { user, password },
    clientId,
    filters: [inbox],
    onReady,
    onMessage: (_topic, payload) => onFrame(payload),
    onClosed,
  })
  return { send: (payload) => client.publish(outbox, payload), close: () => client.close() }
}

/** A client of any broker. */
export interface Client {
  /** False when the connection is gone or more than `bufferedBytesMax` wait in its socket. */
  publish(topic: string, payload: Uint8Array): boolean
  close(): void
}

/** How the certificate of a broker that speaks TLS is judged before anything is said. */
export type CertificateCheck =
  /** It must be the one with this fingerprint; null takes any. */
  | { readonly type: 'pin'; readonly pin: Uint8Array | null }
  /** By name, date and authority: one of the machine's, or this one (PEM). */
  | { readonly type: 'authority'; readonly ca: string | null }

export interface ClientOptions {
  readonly address: Address
  readonly check: CertificateCheck
  readonly login: { readonly user: string; readonly password: Uint8Array } | null
  readonly clientId: string
  readonly filters: readonly string[]
  /** Said by the broker when we are gone without a word. */
  readonly will?: { readonly topic: string; readonly payload: Uint8Array }
  readonly onReady: () => void
  /** The bytes are the receiver's to keep. */
  readonly onMessage: (topic: string, payload: Uint8Array) => void
  /** Once, whatever the reason; nothing comes after it. */
  readonly onClosed: (reason: string) => void
}

const CONNECT_MS = 10_000
const KEEPALIVE_SECONDS = 15
const BUFFERED_BYTES_MAX = 4_194_304
/** Topic and MQTT header around a frame. */
const PACKET_BYTES_MAX = PROTOCOL_LIMITS.frameBytesMax + 1_024

/**
 * MQTT 3.1.1, clean session, QoS 0, no retry of its own: the log is the queue and whoever opened it owns the retries.
 * Nothing of the client's stores or reconnecting is used.
 */
export function openClient(options: ClientOptions): Client {
  const { address, check } = options
  const socket =
    address.protocol === 'mqtts'
      ? openTls(address, check)
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
      client?.subscribe([...options.filters], { qos: 0 }, (error, granted) => {
        if (error) closed(error.message)
        else if (granted?.some(({ qos }) => qos >= 128)) closed('the broker refused our inbox')
        else if (!isClosed) {
          clearTimeout(deadline)
          options.onReady()
        }
      })
    })
    client.on('message', (topic, payload) => {
      if (!isClosed) options.onMessage(topic, new Uint8Array(payload))
    })
    client.connect()
  }
  // Nothing of ours is said before the certificate was seen.
  if (socket instanceof TLSSocket) {
    socket.once('secureConnect', () => {
      if (check.type === 'authority' || isPinned(socket, check.pin)) speak()
      else closed('its certificate is another than its address record says')
    })
  } else speak()
  return {
    publish: (topic, payload) => {
      if (isClosed || !client || socket.writableLength > BUFFERED_BYTES_MAX) return false
      client.publish(topic, asBuffer(payload), { qos: 0 })
      return true
    },
    close: () => closed('closed by us'),
  }
}

function clientOver(socket: Socket, { clientId, login, will }: ClientOptions): MqttClient {
  const stream = (): Socket => {
    guard(socket)
    return socket
  }
  return new MqttClient(stream, {
    protocolVersion: 4,
    clientId,
    ...(login && { username: login.user, password: Buffer.from(login.password) }),
    ...(will && { will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 0 as const, retain: false } }),
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
 * Of a neighbour's broker it doesn't matter whose certificate it is: a board without a clock could not judge one, and the
 * handshake inside proves who is there. A third party's is judged when it is to be told a password.
 */
function openTls({ host, port }: Address, check: CertificateCheck): TLSSocket {
  const socket = connectTls({
    host,
    port,
    minVersion: check.type === 'pin' ? 'TLSv1.3' : 'TLSv1.2',
    rejectUnauthorized: check.type === 'authority',
    ...(check.type === 'authority' && check.ca !== null && { ca: check.ca }),
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
