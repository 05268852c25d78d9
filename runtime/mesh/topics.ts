import { concat, hex, utf8 } from '../base/bytes.ts'
import { isPeerId } from '../model/names.ts'

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

/** Where a gateway says on a relay that it is there; nobody's peer id is `-`. */
export function presenceTopic(meshId: Uint8Array, peerId: string): string {
  return inboxTopic(meshId, '-', peerId)
}

/** Destination and source of an inbox topic; null when it isn't one of this mesh. */
export function readTopic(meshId: Uint8Array, topic: string): { destination: string; source: string } | null {
  const [root, sync, mesh, destination = '', source = '', ...rest] = topic.split('/')
  const isOurs = root === 'marram' && sync === 'sync' && mesh === mesh8(meshId) && rest.length === 0
  return isOurs && isPeerId(source) ? { destination, source } : null
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
