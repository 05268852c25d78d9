import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls'
import { assert, MarramError } from '../base/errors.ts'
import { BROKER_LIMITS } from '../base/limits.ts'
import { formatAddress, type Address } from '../profile/address.ts'

/** PEM: what a TLS listener shows. */
export interface TlsCredentials {
  readonly key: string
  /** With those of its authorities behind it. */
  readonly certificate: string
}

export interface Listener {
  readonly server: Server
  /** `mqtt://host:port`, as it really listens. */
  readonly address: string
  /** For connections from now on. */
  useCredentials(tls: TlsCredentials): void
}

export interface ListenOptions {
  /** Port 0: any free one. */
  readonly address: Address
  /** Needed for `mqtts`. */
  readonly tls: TlsCredentials | null
  /** Asked of every connection before anything is read from it; when false it is gone. */
  readonly admit: (socket: Socket) => boolean
  /** A connection whose bytes are MQTT. */
  readonly serve: (socket: Socket) => void
}

/**
 * Listens on one address; `::` takes IPv4 as well. Rejects with `port-in-use`, `bad-profile` for an address that this
 * machine does not have or this user may not take.
 */
export async function listen({ address, tls, admit, serve }: ListenOptions): Promise<Listener> {
  const secure = address.protocol === 'mqtts' ? secured(tls, serve) : null
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    if (!admit(socket)) socket.destroy()
    else if (secure) secure.emit('connection', socket)
    else serve(socket)
  })
  const { host, port } = address
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(listenError(address, cause)))
    server.listen({ host, port }, resolve)
  })
  server.removeAllListeners('error')
  const actual = server.address()
  return {
    server,
    address: formatAddress({ ...address, port: typeof actual === 'object' && actual ? actual.port : port }),
    useCredentials: (next) => secure?.setSecureContext(contextOf(next)),
  }
}

/** Listens nowhere: it is handed connections that were admitted, for a handshake costs more than most clients may. */
function secured(tls: TlsCredentials | null, serve: (socket: Socket) => void): TlsServer {
  assert(tls !== null, 'a TLS listener has its certificate')
  const server = createTlsServer({ ...contextOf(tls), handshakeTimeout: BROKER_LIMITS.connectMs }, (socket) => {
    socket.on('error', () => socket.destroy())
    serve(socket)
  })
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  return server
}

function contextOf({ key, certificate }: TlsCredentials): { key: string; cert: string; minVersion: 'TLSv1.3' } {
  return { key, cert: certificate, minVersion: 'TLSv1.3' }
}

function listenError(address: Address, cause: NodeJS.ErrnoException): MarramError {
  const what = `Cannot listen on "${formatAddress(address)}"`
  if (cause.code === 'EADDRINUSE') {
    const advice = `another program uses port ${address.port} of ${address.host}, stop it or choose another port in broker.listen`
    return new MarramError('port-in-use', `${what}: ${advice}`, { cause })
  }
  return new MarramError(
    'bad-profile',
    `${what}: ${cause.message}, choose an address and port in broker.listen that it may use`,
    { cause },
  )
}
