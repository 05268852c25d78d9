import { concat, hex, utf8 } from '../base/bytes.ts'

/** Names on the wire between gateways (protocol D22): inbox topics and the login that gates them. */

/** 8 hexadecimal characters of the mesh id: keeps meshes on one broker apart, proves nothing. */
export function mesh8(meshId: Uint8Array): string {
  return hex(meshId).slice(0, 8)
}

/** `destination` is a peer id, or `broker` for whoever owns the broker. */
export function inboxTopic(meshId: Uint8Array, destination: string, source: string): string {
  return `marram/sync/${mesh8(meshId)}/${destination}/${source}`
}

export function inboxFilter(meshId: Uint8Array, peerId: string): string {
  return `marram/sync/${mesh8(meshId)}/${peerId}/+`
}

/** User name of somebody who holds an invite and is no member yet; the password is the invite's id. */
export const JOIN_USER = 'join'

/** What the knock signs: it opens a socket on a gateway, nothing else, so a replay gains nothing but a socket. */
export function knockMessage(meshId: Uint8Array, clientId: string): Uint8Array {
  return concat(utf8('marram1/knock'), meshId, utf8(clientId))
}

const PUBLIC_KEY_BYTES = 32
const SIGNATURE_BYTES = 64

/** A member's MQTT password: public key and signature. */
export function knockPassword(publicKey: Uint8Array, signature: Uint8Array): Uint8Array {
  return concat(publicKey, signature)
}

export function readKnock(password: Uint8Array): { publicKey: Uint8Array; signature: Uint8Array } | null {
  if (password.length !== PUBLIC_KEY_BYTES + SIGNATURE_BYTES) return null
  return { publicKey: password.slice(0, PUBLIC_KEY_BYTES), signature: password.slice(PUBLIC_KEY_BYTES) }
}
