import { hostname, networkInterfaces } from 'node:os'
import { formatAddress, parseAddress } from '../profile/address.ts'

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
