/** MQTT topic filters [MQTT-4.7]. */

export function matches(filter: string, topic: string): boolean {
  const pattern = filter.split('/')
  const levels = topic.split('/')
  // [MQTT-4.7.2-1] Wildcards at the start don't match topics that begin with $.
  if (topic.startsWith('$') && !filter.startsWith('$')) return false
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === '#') return true
    if (i >= levels.length || (pattern[i] !== '+' && pattern[i] !== levels[i])) return false
  }
  return pattern.length === levels.length
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

/** What an ordinary client may never publish: the system's topics, and those that only the gateway itself speaks on. */
export function isReservedForPublish(topic: string): boolean {
  if (topic.startsWith('$')) return true
  if (!topic.startsWith('marram/')) return false
  return !topic.startsWith('marram/request/') && !(topic.startsWith('marram/data/') && topic.endsWith('/set'))
}

/** What an ordinary client may never subscribe to. */
export function isReservedForSubscribe(filter: string): boolean {
  return filter.startsWith('$') || filter === 'marram/sync' || filter.startsWith('marram/sync/')
}

/** What is never handed to an ordinary client, whatever wildcard it subscribed with. */
export function isReservedForForward(topic: string): boolean {
  return topic.startsWith('$') || topic.startsWith('marram/sync/')
}
