import { hex, utf8 } from '../base/bytes.ts'
import { sha256 } from '../crypto/hash.ts'
import type { KeyValue } from '../ports/store.ts'

/**
 * What the broker keeps in the store:
 *
 *     broker/session/<session>            who it belongs to and what it subscribes to, as JSON
 *     broker/message/<message>            a message that sessions wait for, once
 *     broker/queue/<session>/<message>    that the session waits for it
 *     broker/retained/<hash of topic>     a retained message
 *     broker/will/<hash of client id>     what is to be said when the client is lost
 *
 * Numbers are 16 digits, so that records are read in the order in which they were made; a session's number is never used
 * again, so what an old session left behind can't reach a new one of the same name.
 */
export const SESSIONS = 'broker/session/'
export const MESSAGES = 'broker/message/'
export const QUEUES = 'broker/queue/'
export const RETAINED = 'broker/retained/'
export const WILLS = 'broker/will/'

export interface StoredPacket {
  readonly topic: string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly payload: Buffer | string
}

export interface StoredSession {
  readonly id: string
  readonly owner: string | null
  readonly filters: readonly (readonly [filter: string, qos: number])[]
  /** How long the client has been away, in milliseconds during which the gateway ran. */
  readonly absentMs: number
}

export interface StoredWill extends StoredPacket {
  readonly clientId: string
  readonly user: string | null
}

export function sessionKey(session: number): string {
  return SESSIONS + digits(session)
}

export function messageKey(message: number): string {
  return MESSAGES + digits(message)
}

export function queueKey(session: number, message: number): string {
  return `${QUEUES}${digits(session)}/${digits(message)}`
}

/** Hashed, because keys have at most 1,000 bytes and topics up to 65,535. */
export function retainedKey(topic: string): string {
  return RETAINED + hex(sha256(utf8(topic)))
}

export function willKey(clientId: string): string {
  return WILLS + hex(sha256(utf8(clientId)))
}

/** The numbers at the end of a key. */
export function numbersOf(key: string, prefix: string): number[] {
  return key.slice(prefix.length).split('/').map(Number)
}

export function encodeSession(session: StoredSession): Uint8Array {
  return utf8(JSON.stringify(session))
}

export function decodeSession(value: Uint8Array): StoredSession {
  return JSON.parse(Buffer.from(value).toString()) as StoredSession
}

/** A JSON header behind its length of four bytes, then the payload. */
export function encodePacket({ topic, qos, retain, payload, ...more }: StoredPacket | StoredWill): Uint8Array {
  const whose = 'clientId' in more ? { clientId: more.clientId, user: more.user } : {}
  const head = Buffer.from(JSON.stringify({ topic, qos, retain, ...whose }))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(head.length)
  return new Uint8Array(Buffer.concat([length, head, Buffer.from(payload)]))
}

export function decodePacket(value: Uint8Array): StoredPacket & { readonly payload: Buffer } {
  const bytes = Buffer.from(value)
  const end = 4 + bytes.readUInt32BE(0)
  return { ...(JSON.parse(bytes.subarray(4, end).toString()) as StoredPacket), payload: bytes.subarray(end) }
}

export function decodeWill(value: Uint8Array): StoredWill {
  return decodePacket(value) as StoredWill & { readonly payload: Buffer }
}

/** Whether a record says what its key stands for: one that a card has damaged hardly does. */
export function isReadable({ key, value }: KeyValue): boolean {
  if (value === null) return false
  try {
    if (key.startsWith(SESSIONS)) return isSession(decodeSession(value)) && hasNumbers(key, SESSIONS)
    if (key.startsWith(MESSAGES)) return isPacket(decodePacket(value)) && hasNumbers(key, MESSAGES)
    if (key.startsWith(QUEUES)) return hasNumbers(key, QUEUES)
    if (key.startsWith(RETAINED)) return isPacket(decodePacket(value)) && key === retainedKey(decodePacket(value).topic)
    return isWill(decodeWill(value)) && key === willKey(decodeWill(value).clientId)
  } catch {
    return false
  }
}

function hasNumbers(key: string, prefix: string): boolean {
  return numbersOf(key, prefix).every((number) => Number.isSafeInteger(number) && number >= 0)
}

function isSession({ id, owner, filters, absentMs }: StoredSession): boolean {
  const areFilters =
    Array.isArray(filters) && filters.every(([filter, qos]) => typeof filter === 'string' && isQos(qos))
  return typeof id === 'string' && isUser(owner) && areFilters && Number.isFinite(absentMs)
}

function isPacket({ topic, qos, retain }: StoredPacket): boolean {
  return typeof topic === 'string' && isQos(qos) && typeof retain === 'boolean'
}

function isWill(will: StoredWill): boolean {
  return isPacket(will) && typeof will.clientId === 'string' && isUser(will.user)
}

function isUser(user: unknown): boolean {
  return user === null || typeof user === 'string'
}

function isQos(qos: number): boolean {
  return qos === 0 || qos === 1 || qos === 2
}

export function removal(key: string): KeyValue {
  return { key, value: null }
}

function digits(number: number): string {
  return String(number).padStart(16, '0')
}
