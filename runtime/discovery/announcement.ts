import { isPeerId } from '../model/names.ts'
import type { Hint } from '../ports/discovery.ts'
import { formatAddress, parseAddress, type Address } from '../profile/address.ts'

/** What a gateway says of itself on the local network: `_marram._tcp`, and these in its TXT record. */
export interface Announcement {
  /** 8 hexadecimal characters of the mesh id. */
  readonly mesh8: string
  readonly peerId: string
  readonly cell: string | null
  readonly port: number
  readonly isTls: boolean
}

export interface Txt {
  readonly [key: string]: string
}

export function txtOf({ mesh8, peerId, cell, port, isTls }: Announcement): Txt {
  return { mesh8, peerId, port: String(port), tls: isTls ? '1' : '0', ...(cell !== null && { cell }) }
}

/** A service as bonjour-service reports it: every part of it is what somebody sent. */
export interface Service {
  readonly txt?: unknown
  /** Where the packet came from. */
  readonly referer?: { readonly address: string }
}

/**
 * Where the gateway that announced itself may be dialled; null when it is of another mesh or malformed. At the address that
 * the packet came from, which can be reached; those in its records may be anybody's, or of a network that we are not on.
 */
export function hintOf({ txt, referer }: Service, mesh8: string): Hint | null {
  if (typeof txt !== 'object' || txt === null || !referer) return null
  const { mesh8: mesh, peerId, port, tls } = txt as { readonly [key: string]: unknown }
  if (mesh !== mesh8 || typeof peerId !== 'string' || !isPeerId(peerId)) return null
  if (typeof port !== 'string' || !/^[1-9][0-9]{0,4}$/.test(port) || Number(port) > 65_535) return null
  const protocol = tls === '1' ? 'mqtts' : 'mqtt'
  return { address: formatAddress({ protocol, host: referer.address, port: Number(port) }), peerId }
}

/** The listener that others are told of: beyond loopback, TLS before plain; null when there is none. */
export function announcedListener(listeners: readonly string[]): Address | null {
  const open = listeners.flatMap((text) => {
    const address = parseAddress(text)
    return address.ok && !/^(127\.|::1$|localhost$)/.test(address.value.host) ? [address.value] : []
  })
  return open.find(({ protocol }) => protocol === 'mqtts') ?? open[0] ?? null
}
