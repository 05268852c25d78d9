import { MarramError } from '../base/errors.ts'
import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { BRIDGE_COLLECTION, checkDocumentKey } from '../model/names.ts'
import type { Fields } from '../model/value.ts'
import type { ClientMessage } from '../ports/broker.ts'
import type { WriteOp, Writer } from '../ports/writer.ts'
import type { ResolvedBridgeRule } from '../profile/resolved.ts'
import { isOverlap } from '../profile/topics.ts'

/** Without `keep` a message is for those who are linked; those whose link is being mended get it as well. */
const KEEP_MS = 60_000

/**
 * Plain topics of other gateways' brokers. Nothing is passed on by topic: what a rule gives out is written here, by whom a
 * client said it to, and travels as every write does, so it comes once to each gateway and circulates nowhere. Retained
 * messages are documents by topic, of which the last one stands everywhere; the others are rows of a series.
 */
export class Bridge {
  readonly #rules: readonly ResolvedBridgeRule[]
  readonly #writer: Writer

  constructor(rules: readonly ResolvedBridgeRule[], writer: Writer) {
    this.#rules = rules
    this.#writer = writer
  }

  /** How long rows are kept here. */
  get keepMs(): number {
    return Math.max(KEEP_MS, ...this.#rules.map(({ keepMs }) => keepMs ?? 0))
  }

  /** The quality of service that others' messages on a topic are published with here; null when they aren't. */
  qosIn(topic: string): 0 | 1 | null {
    const rule = this.#rules.find(({ topic: filter, direction }) => direction !== 'out' && isOverlap(filter, topic))
    return rule === undefined ? null : rule.qos === 0 ? 0 : 1
  }

  /** Clients here are told a retained message as it stands in the store: others may have said something later. */
  isToldFromStore({ topic, retain }: ClientMessage): boolean {
    return retain && this.qosIn(topic) !== null
  }

  isGivenOut(topic: string): boolean {
    return this.#rules.some(({ topic: filter, direction }) => direction !== 'in' && isOverlap(filter, topic))
  }

  /** Resolves when it is on the disk. Throws `bad-request` or `too-large` for what can't be carried, and what writing throws. */
  async giveOut({ topic, payload, retain }: ClientMessage): Promise<void> {
    const key = checkDocumentKey(topic)
    if (!key.ok) throw new MarramError(key.error.code, key.error.message)
    const max = PROTOCOL_LIMITS.valueBytesMax
    if (payload.length > max)
      throw new MarramError(
        'too-large',
        `Cannot carry ${payload.length} bytes to other gateways: it must be at most ${max}`,
      )
    await this.#writer.write(BRIDGE_COLLECTION, '', [opOf(topic, payload, retain)])
  }
}

function opOf(key: string, payload: Uint8Array, retain: boolean): WriteOp {
  if (!retain) return { kind: 'row', key, fields: fieldsOfPayload(payload) }
  if (payload.length === 0) return { kind: 'delete', key }
  const fields = fieldsOfPayload(payload)
  // One of the two: the other would be what the message before it had.
  return { kind: 'put', key, fields: { text: null, base64: null, ...fields } }
}

/** Text where it is text, so that whoever reads the collection sees what was said. */
export function fieldsOfPayload(payload: Uint8Array): Fields {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  const text = bytes.toString('utf8')
  return Buffer.from(text, 'utf8').equals(bytes) ? { text } : { base64: bytes.toString('base64') }
}

/** Null when another version wrote what this one does not understand. */
export function payloadOf({ text, base64 }: Fields): Uint8Array | string | null {
  if (typeof text === 'string') return text
  return typeof base64 === 'string' ? new Uint8Array(Buffer.from(base64, 'base64')) : null
}
