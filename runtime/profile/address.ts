import { fail, ok, type Result } from '../base/result.ts'

export type Protocol = 'mqtt' | 'mqtts'

const DEFAULT_PORTS = { mqtt: 1883, mqtts: 8883 } as const

/** Where a broker listens or is dialled. IPv6 hosts are without brackets; a link-local one names its interface: `fe80::1%eth0`. */
export interface Address {
  readonly protocol: Protocol
  readonly host: string
  readonly port: number
}

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** `mqtt://10.0.0.2:1883`, `mqtt://[::]:1883`, `mqtts://gateway.example`: 1883 or 8883 where no port is named. */
export function parseAddress(text: string): Result<Address> {
  const [, protocol, host = '', port] =
    /^(mqtts?):\/\/(\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]{1,15})?\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?$/.exec(text) ?? []
  if (protocol !== 'mqtt' && protocol !== 'mqtts') {
    return fail(
      'bad-request',
      `Cannot use "${text.slice(0, 60)}" as an address: it must be of the form mqtt://host:port`,
    )
  }
  const number = port === undefined ? DEFAULT_PORTS[protocol] : Number(port)
  return number > 65_535 ? badPort(text) : ok({ protocol, host: withoutBrackets(host), port: number })
}

/** `127.0.0.1:8484`, `[::1]:8484`. */
export function parseHostPort(text: string): Result<HostPort> {
  const [, host = '', port = ''] = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$/.exec(text) ?? []
  if (host === '') {
    return fail('bad-request', `Cannot use "${text.slice(0, 60)}" as an address: it must be of the form host:port`)
  }
  return Number(port) > 65_535 ? badPort(text) : ok({ host: withoutBrackets(host), port: Number(port) })
}

export function formatAddress({ protocol, host, port }: Address): string {
  return `${protocol}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** True when one process can't listen on both: the same port on the same host, or on every interface. Port 0 is any free one. */
export function isConflict(a: HostPort, b: HostPort): boolean {
  if (a.port === 0 || a.port !== b.port) return false
  return a.host === b.host || isEveryInterface(a.host) || isEveryInterface(b.host)
}

function isEveryInterface(host: string): boolean {
  return host === '::' || host === '0.0.0.0'
}

function withoutBrackets(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1) : host
}

function badPort(text: string): Result<never> {
  return fail(
    'bad-request',
    `Cannot use "${text.slice(0, 80)}" as an address: its port is above 65535, it must be 0 to 65535`,
  )
}
