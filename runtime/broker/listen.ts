import { createServer, type Server, type Socket } from 'node:net'
import { MarramError } from '../base/errors.ts'

export interface ListenAddress {
  readonly protocol: 'mqtt' | 'mqtts'
  readonly host: string
  /** 0: any free one. */
  readonly port: number
}

export interface Listener {
  readonly server: Server
  /** `mqtt://host:port`, as it really listens. */
  readonly address: string
}

/**
 * Listens on one address; `::` takes IPv4 as well. Rejects with `port-in-use`, `bad-profile` for an address that this
 * machine does not have or this user may not take, `not-supported` for TLS.
 */
export async function listen(address: ListenAddress, accept: (socket: Socket) => void): Promise<Listener> {
  const { protocol, host, port } = address
  if (protocol !== 'mqtt')
    throw new MarramError('not-supported', `Cannot listen on "${textOf(address)}": TLS is not built yet, use mqtt://`)
  const server = createServer({ noDelay: true }, accept)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(listenError(address, cause)))
    server.listen({ host, port }, resolve)
  })
  server.removeAllListeners('error')
  const actual = server.address()
  return { server, address: textOf({ ...address, port: typeof actual === 'object' && actual ? actual.port : port }) }
}

function listenError(address: ListenAddress, cause: NodeJS.ErrnoException): MarramError {
  const what = `Cannot listen on "${textOf(address)}"`
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

function textOf({ protocol, host, port }: ListenAddress): string {
  return `${protocol}://${host.includes(':') ? `[${host}]` : host}:${port}`
}
