import { hostname, networkInterfaces } from 'node:os'
import { formatAddress, parseAddress, type Address } from '../profile/address.ts'

const HOST_NAME = /^[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*$/

/** Where others reach our listeners: every address of this machine in place of a wildcard, loopback last. */
export function reachableAddresses(listeners: readonly string[]): string[] {
  const addresses = listeners.flatMap((text) => {
    const address = parseAddress(text)
    if (!address.ok) return []
    const isWildcard = address.value.host === '::' || address.value.host === '0.0.0.0'
    return isWildcard ? machineAddresses().map((host) => formatAddress({ ...address.value, host })) : [text]
  })
  const isLoopback = (text: string): boolean => /\/\/(127\.|\[::1\])/.test(text)
  return [...addresses.filter((text) => !isLoopback(text)), ...addresses.filter(isLoopback)]
}

/** The cell of a gateway whose profile names none: its listener's network, or the machine's first one, as `net-10-0-0-0-24`. */
export function subnetCell(listener: Address | null): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  const own = all.filter(({ internal, family }) => !internal && family === 'IPv4')
  const of = own.find(({ address }) => address === listener?.host) ?? own[0]
  return of?.cidr ? `net-${networkOf(of.cidr)}` : 'net-none'
}

function networkOf(cidr: string): string {
  const [address = '', bits = '32'] = cidr.split('/')
  const number = address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0)
  const size = 2 ** (32 - Number(bits))
  const first = Math.floor(number / size) * size
  const octets = [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256)
  return [...octets, bits].join('-')
}

function machineAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return [
    ...all.filter(({ internal, family }) => !internal && family === 'IPv4').map(({ address }) => address),
    '127.0.0.1',
  ]
}

/** By what clients may call this machine: its names, and its IPv4 addresses; those of IPv6 change by the day. */
export function namesOfThisMachine(peerId: string): string[] {
  const host = hostname()
  const hosts = ['localhost', host, `${host.split('.')[0]}.local`, `${peerId}.local`]
  return [...new Set([...hosts.filter((name) => HOST_NAME.test(name)), '::1', ...machineAddresses()])]
}
