import { concat, utf8 } from '../base/bytes.ts'
import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { fail, ok, type Result } from '../base/result.ts'
import { peerIdOf } from '../crypto/identity.ts'
import { isName, isPeerId } from '../model/names.ts'
import { decodeDeterministic, encodeDeterministic } from './deterministic.ts'

/**
 * Where a gateway can be dialled and whom it is linked with, as it says itself (protocol D26):
 *
 *   record = [body, signature]
 *   body   = [public key, number, [address...], [peer id...], cell, traits]
 *
 * `traits` is the sum of 1 for a super-peer and 2 for one that pays for what it sends; other bits may come to mean
 * something. Records that end before `cell` are of gateways that know no cells. The signature is its device key's over
 * "marram1/addresses" ‖ mesh id ‖ body. Of two records of one gateway the newer one counts, see `isNewer`.
 */
export interface AddressRecord {
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array
  readonly number: number
  /** `mqtt://host:port`, none when it can't be dialled or does not wish to be. */
  readonly addresses: readonly string[]
  readonly links: readonly string[]
  /** Empty when it doesn't say. */
  readonly cell: string
  readonly isSuperPeer: boolean
  /** What it may send is limited. */
  readonly isMetered: boolean
}

const SUPER_PEER = 1
const METERED = 2

/** A record as it came: not verified yet. */
export interface SignedRecord extends AddressRecord {
  readonly peerId: string
  readonly bytes: Uint8Array
  /** What the signature covers. */
  readonly signed: Uint8Array
  readonly signature: Uint8Array
}

export function encodeAddressRecord(
  { publicKey, number, addresses, links, cell, isSuperPeer, isMetered }: AddressRecord,
  meshId: Uint8Array,
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  const traits = (isSuperPeer ? SUPER_PEER : 0) + (isMetered ? METERED : 0)
  const body = encodeDeterministic([publicKey, number, addresses, links, cell, traits])
  return encodeDeterministic([body, sign(signedBytes(meshId, body))])
}

/** Checks all but the signature. Keeps nothing of `bytes`. */
export function decodeAddressRecord(meshId: Uint8Array, bytes: Uint8Array): Result<SignedRecord> {
  if (bytes.length > PROTOCOL_LIMITS.addressRecordBytesMax) return malformed('its length')
  const [body, signature] = listIn(bytes)
  if (!(body instanceof Uint8Array) || !(signature instanceof Uint8Array) || signature.length !== 64)
    return malformed('its form')
  const [publicKey, number, addresses, links, cell = '', traits = 0] = listIn(body)
  if (!(publicKey instanceof Uint8Array) || publicKey.length !== 32) return malformed('its key')
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0) return malformed('its number')
  const { addressesPerRecordMax, linksPerRecordMax, addressLengthMax } = PROTOCOL_LIMITS
  const isAddress = (text: string): boolean => text.length <= addressLengthMax
  if (!isTexts(addresses, addressesPerRecordMax, isAddress)) return malformed('its addresses')
  if (!isTexts(links, linksPerRecordMax, isPeerId)) return malformed('its links')
  if (typeof cell !== 'string' || (cell !== '' && !isName(cell))) return malformed('its cell')
  if (typeof traits !== 'number' || !Number.isInteger(traits) || traits < 0) return malformed('its traits')
  return ok({
    publicKey: publicKey.slice(),
    number,
    addresses,
    links,
    cell,
    isSuperPeer: (traits & SUPER_PEER) !== 0,
    isMetered: (traits & METERED) !== 0,
    peerId: peerIdOf(publicKey),
    bytes: bytes.slice(),
    signed: signedBytes(meshId, body),
    signature: signature.slice(),
  })
}

/** The greater number is newer. A gateway that lost its count may have used one twice: then the greater bytes are, for all. */
export function isNewer(record: SignedRecord, than: SignedRecord): boolean {
  if (record.number !== than.number) return record.number > than.number
  return Buffer.compare(record.bytes, than.bytes) > 0
}

function signedBytes(meshId: Uint8Array, body: Uint8Array): Uint8Array {
  return concat(utf8('marram1/addresses'), meshId, body)
}

function listIn(bytes: Uint8Array): readonly unknown[] {
  const item = decodeDeterministic(bytes)
  return item.ok && Array.isArray(item.value) ? (item.value as unknown[]) : []
}

function isTexts(value: unknown, most: number, isText: (text: string) => boolean): value is string[] {
  return Array.isArray(value) && value.length <= most && value.every((text) => typeof text === 'string' && isText(text))
}

function malformed(what: string): Result<never> {
  return fail('bad-request', `an address record is malformed: ${what}`)
}
