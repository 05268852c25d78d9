import { randomInteger, type Random } from '../../runtime/base/random.ts'
import { decodeMessages, encodeMessages, type Message } from '../../runtime/wire/message.ts'
import type { Fault } from './simulation.ts'

const LIES = 0.08
const FLOOD = 20

/**
 * What a lying neighbour makes of a frame that an honest gateway would have sent: now and then something else. It has no
 * key but its own, so it can only spoil what others signed, hold it back, or say what isn't so.
 */
export function lieAbout(random: Random, bytes: Uint8Array, note: (fault: Fault) => void): readonly Uint8Array[] {
  if (random() >= LIES) return [bytes]
  const messages = decodeMessages(bytes)
  if (!messages.ok) return [bytes]
  const data = messages.value.find((message) => message.type === 'data')
  const have = messages.value.find((message) => message.type === 'have')
  const draw = random()
  if (data && draw < 0.25) {
    note('lie: bad signature')
    return [encodeMessages(replaced(messages.value, data, (batch) => changed(batch, signatureAt(batch))))]
  }
  if (data && draw < 0.5) {
    note('lie: changed body')
    return [encodeMessages(replaced(messages.value, data, (batch) => changed(batch, batch.length - 1)))]
  }
  if (data && draw < 0.7) {
    note('lie: withheld batches')
    return [encodeMessages(messages.value.filter((message) => message !== data))]
  }
  if (have && draw < 0.8) {
    note('lie: false head')
    return [encodeMessages(messages.value.map((message) => (message === have ? falseHead(random, have) : message)))]
  }
  if (draw < 0.85) {
    note('lie: cut frame')
    return [bytes.subarray(0, randomInteger(random, 0, bytes.length - 1))]
  }
  if (draw < 0.9) {
    note('lie: flood')
    return Array.from({ length: FLOOD }, () => bytes)
  }
  return [bytes]
}

type Data = Extract<Message, { type: 'data' }>
type Have = Extract<Message, { type: 'have' }>

function replaced(messages: readonly Message[], data: Data, change: (batch: Uint8Array) => Uint8Array): Message[] {
  return messages.map((message) => (message === data ? { ...data, batches: data.batches.map(change) } : message))
}

function changed(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice()
  copy[at] = (copy[at] as number) ^ 1
  return copy
}

/** Within the 64 bytes behind the header. */
function signatureAt(batch: Uint8Array): number {
  return 9 + (batch[8] as number) + 2 + 10
}

function falseHead(random: Random, have: Have): Message {
  const entries = have.entries.map(([alias, seq, hash8]): Have['entries'][number] => {
    return random() < 0.5 ? [alias, seq + randomInteger(random, 1, 50), hash8] : [alias, seq, changed(hash8, 0)]
  })
  return { ...have, entries }
}
