import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { fail, ok, type Result } from '../base/result.ts'

/** Names that users choose: mesh, cell, collection, profile, source. Names that begin with `$` are the system's. */
export function isName(text: string): boolean {
  return /^[a-z0-9-]{1,63}$/.test(text)
}

export function isCollectionName(text: string): boolean {
  return isName(text) || isSystemName(text)
}

export function isSystemName(text: string): boolean {
  return /^\$[a-z0-9-]{1,62}$/.test(text)
}

/** The collection of members and invites, replicated to everyone. */
export const MESH_COLLECTION = '$mesh'

/** What each member says of itself to all, one partition for each, which only it may write: its beacons. */
export const SELF_COLLECTION = '$self'

/** Of plain MQTT messages that bridge rules carry; it is the users' like any other. */
export const BRIDGE_COLLECTION = 'mqtt'

/** One name for a collection and a partition of it: a slash can't occur in the former. */
export function placeOf(place: { readonly collection: string; readonly partition: string }): string {
  return `${place.collection}/${place.partition}`
}

/** 23 characters of RFC 4648 base32 in lower case. */
export function isPeerId(text: string): boolean {
  return /^[a-z2-7]{23}$/.test(text)
}

/** 1 to 512 bytes of UTF-8 without control characters. */
export function checkDocumentKey(key: string): Result<string> {
  const why = textFault(key, PROTOCOL_LIMITS.documentKeyBytesMax)
  return why ? fail('bad-request', `Cannot use "${abridge(key)}" as a document key: ${why}`) : ok(key)
}

/** 1 to 256 bytes of UTF-8 without control characters; not `__proto__`, which JavaScript objects can't hold as a field. */
export function checkFieldPath(path: string): Result<string> {
  const why = fieldPathFault(path)
  return why ? fail('bad-request', `Cannot use "${abridge(path)}" as a field name: ${why}`) : ok(path)
}

export function isDocumentKey(key: string): boolean {
  return textFault(key, PROTOCOL_LIMITS.documentKeyBytesMax) === null
}

export function isFieldPath(path: string): boolean {
  return fieldPathFault(path) === null
}

function fieldPathFault(path: string): string | null {
  return path === '__proto__' ? 'it is reserved' : textFault(path, PROTOCOL_LIMITS.fieldPathBytesMax)
}

/** At most 64 bytes of UTF-8 without control characters; the empty partition is the usual one. */
export function isPartition(partition: string): boolean {
  return partition === '' || textFault(partition, PROTOCOL_LIMITS.partitionBytesMax) === null
}

/** What a link is called: 1 to 64 bytes of UTF-8 without control characters. */
export function isLabel(label: string): boolean {
  return textFault(label, PROTOCOL_LIMITS.labelBytesMax) === null
}

function textFault(text: string, bytesMax: number): string | null {
  if (text.length === 0) return 'it is empty, it must have at least one character'
  // A UTF-16 unit is at most three bytes, so short texts need no exact count.
  if (text.length * 3 > bytesMax && Buffer.byteLength(text) > bytesMax) {
    return `it has ${Buffer.byteLength(text)} bytes, it must have at most ${bytesMax}`
  }
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x20 || (unit >= 0x7f && unit < 0xa0)) return 'it has a control character, it must have none'
    if (unit >= 0xd800 && unit <= 0xdfff && !text.isWellFormed()) return 'it is not well-formed Unicode'
  }
  return null
}

function abridge(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}
