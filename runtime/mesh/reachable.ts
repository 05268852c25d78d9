import { networkInterfaces } from 'node:os'

/** Where others reach our listeners: every address of this machine in place of a wildcard, loopback last. */
export function reachableAddresses(listeners: readonly string[]): string[] {
  const addresses = listeners.flatMap((text) => {
    const { hostname, port } = new URL(text)
    const isWildcard = hostname === '[::]' || hostname === '0.0.0.0'
    return isWildcard ? machineAddresses().map((host) => `mqtt://${host}:${port}`) : [text]
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
