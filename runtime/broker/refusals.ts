import { BROKER_LIMITS } from '../base/limits.ts'
import type { Log } from '../ports/log.ts'
import { isTopic } from './topics.ts'

/** Says what was refused or dropped: so often a second, then it only counts, because a device may repeat it for ever. */
export class Refusals {
  readonly #log: Log
  readonly #publish: (payload: string) => void
  readonly #monotonicMs: () => number
  #since = Number.NEGATIVE_INFINITY
  #said = 0
  #unsaid = 0

  /** `publish`: to `marram/error`. */
  constructor(log: Log, publish: (payload: string) => void, monotonicMs: () => number) {
    this.#log = log
    this.#publish = publish
    this.#monotonicMs = monotonicMs
  }

  say(event: string, fields: object): void {
    const isSaid = this.#isFree()
    if (!isSaid) return
    this.#log.warn(event, this.#unsaid > 0 ? { ...fields, unsaid: this.#unsaid } : fields)
    this.#unsaid = 0
  }

  /** As well to those who listen to `marram/error`. */
  publishRefused(topic: string, clientId: string, user: string | null): void {
    const isSaid = this.#isFree()
    if (!isSaid) return
    const who = user === null ? 'is anonymous and' : `"${user}"`
    const message = isTopic(topic)
      ? `Cannot publish to "${topic}": the login ${who} has no right to, use a topic that it is allowed`
      : `Cannot publish to ${JSON.stringify(topic)}: it is no topic, which has neither wildcards nor control characters and at most 100 levels`
    this.#log.warn('mqtt-publish-refused', { clientId, user, topic })
    this.#publish(JSON.stringify({ topic, clientId, code: 'not-permitted', message }))
  }

  #isFree(): boolean {
    const now = this.#monotonicMs()
    if (now - this.#since >= 1_000) {
      this.#since = now
      this.#said = 0
    }
    this.#said += 1
    if (this.#said <= BROKER_LIMITS.refusalsPerSecond) return true
    this.#unsaid += 1
    return false
  }
}
