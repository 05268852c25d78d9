/** MQTT topic filters [MQTT-4.7], and which topics are the gateway's own. */

/** Asked for each filter of a client with each message for it, so nothing is taken apart. */
export function matches(filter: string, topic: string): boolean {
  // [MQTT-4.7.2-1] Wildcards at the start don't match topics that begin with $.
  if (topic.startsWith('$') && !filter.startsWith('$')) return false
  let at = 0
  for (let from = 0; from <= filter.length;) {
    const to = endOfLevel(filter, from)
    const wildcard = to === from + 1 ? filter[from] : undefined
    if (wildcard === '#') return true
    if (at > topic.length) return false
    const end = endOfLevel(topic, at)
    if (wildcard !== '+' && (to - from !== end - at || !isSame(filter, from, to, topic, at))) return false
    from = to + 1
    at = end + 1
  }
  return at > topic.length
}

function endOfLevel(text: string, from: number): number {
  const slash = text.indexOf('/', from)
  return slash === -1 ? text.length : slash
}

function isSame(a: string, from: number, to: number, b: string, at: number): boolean {
  for (let i = from; i < to; i++) if (a.charCodeAt(i) !== b.charCodeAt(at + i - from)) return false
  return true
}

/** True when every topic that `filter` matches is matched by `by` as well. */
export function isCovered(filter: string, by: string): boolean {
  const pattern = by.split('/')
  const levels = filter.split('/')
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === '#') return true
    const level = levels[i]
    if (level === undefined || level === '#') return false
    if (pattern[i] !== '+' && pattern[i] !== level) return false
  }
  return pattern.length === levels.length
}

/** True when some topic is matched by both filters. */
export function overlap(a: string, b: string): boolean {
  const [x, y] = [a.split('/'), b.split('/')]
  for (let i = 0; ; i++) {
    if (x[i] === '#' || y[i] === '#') return true
    if (x[i] === undefined || y[i] === undefined) return x[i] === y[i]
    if (x[i] !== '+' && y[i] !== '+' && x[i] !== y[i]) return false
  }
}

/** Documents, answered from the store: `marram/data/<collection>/<key>`. */
export const DOCUMENTS = 'marram/data/'

export function mayMatchDocuments(filter: string): boolean {
  return overlap(filter, `${DOCUMENTS}+/+`)
}

/** aedes matches no deeper ones. */
const LEVELS_MAX = 100

/**
 * What a message can be published to [MQTT-3.3.2-2], [MQTT-1.5.3-2]. Control characters and what Unicode calls no characters are
 * optional to refuse; Mosquitto's clients end their connection when they are sent one.
 */
export function isTopic(text: string): boolean {
  const isShallow = text.length < LEVELS_MAX || text.split('/').length <= LEVELS_MAX
  return text.length > 0 && isShallow && !/[+#\p{Cc}\p{NChar}]/u.test(text)
}

/** What an ordinary client may never publish: the system's topics, and those that only the gateway itself speaks on. */
export function isReservedForPublish(topic: string): boolean {
  if (topic.startsWith('$')) return true
  if (!topic.startsWith('marram/')) return false
  return !matches('marram/request/#', topic) && !matches('marram/data/+/+/set', topic)
}

/** What an ordinary client may never subscribe to. */
export function isReservedForSubscribe(filter: string): boolean {
  return filter.startsWith('$') || isCovered(filter, 'marram/sync/#')
}

/** What is never handed to an ordinary client, whatever wildcard it subscribed with. */
export function isReservedForForward(topic: string): boolean {
  return topic.startsWith('$') || topic.startsWith('marram/sync/')
}

/** [MQTT-4.7.1-2], [MQTT-4.7.1-3]: wildcards take a whole level, and # only the last. */
export function isFilter(text: string): boolean {
  const levels = text.split('/')
  return (
    text.length > 0 &&
    levels.every((level, i) => !/[#+]/.test(level) || level === '+' || (level === '#' && i === levels.length - 1))
  )
}
