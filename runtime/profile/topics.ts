/** MQTT topic filters and the topic patterns of sources, as far as a profile's checks need them. */

const NAME = /^\{[A-Za-z][A-Za-z0-9_]*\}$/
const TAIL = /^\{[A-Za-z][A-Za-z0-9_]*\.\.\.\}$/

/** Null when `pattern` is one; else what is wrong. `ruuvi/{mac}/data`, `shed/{rest...}`. */
export function patternFault(pattern: string): string | null {
  const levels = pattern.split('/')
  const names = namesOf(pattern)
  for (const [i, level] of levels.entries()) {
    if (NAME.test(level) || (TAIL.test(level) && i === levels.length - 1)) continue
    if (TAIL.test(level)) return `"${level}" is not its last level`
    if (/[{}]/.test(level)) return `its level "${level}" is neither plain text nor a name in braces`
    if (/[+#]/.test(level)) return `its level "${level}" has an MQTT wildcard`
  }
  if (new Set(names).size < names.length) return 'it has a name twice'
  return isReserved(pattern) ? 'it begins with marram or $' : controlFault(pattern)
}

/** Null when `filter` is one (MQTT 3.1.1 4.7.1); else what is wrong. */
export function filterFault(filter: string): string | null {
  const levels = filter.split('/')
  for (const [i, level] of levels.entries()) {
    if (level === '#' && i < levels.length - 1) return 'its # is not the last level'
    if (level.length > 1 && /[+#]/.test(level)) return `its level "${level}" mixes text and a wildcard`
  }
  return controlFault(filter)
}

/** The names of a pattern or of a key's template, in order. */
export function namesOf(template: string): string[] {
  return [...template.matchAll(/\{([A-Za-z][A-Za-z0-9_]*)(?:\.\.\.)?\}/g)].map(([, name = '']) => name)
}

/** The filter that matches what a source's pattern matches. */
export function filterOf(pattern: string): string {
  const level = (text: string): string => (TAIL.test(text) ? '#' : NAME.test(text) ? '+' : text)
  return pattern.split('/').map(level).join('/')
}

/** True when some topic matches both filters. Wildcards at the first level match no topic that begins with $ [MQTT-4.7.2-1]. */
export function isOverlap(a: string, b: string): boolean {
  const [left, right] = [a.split('/'), b.split('/')]
  for (let i = 0; ; i++) {
    const [l, r] = [left[i], right[i]]
    if (i === 0 && (isSystemLevel(l) || isSystemLevel(r)) && l !== r) return false
    // `a/#` matches `a` too [MQTT 4.7.1.2].
    if (l === '#' || r === '#' || (l === undefined && r === undefined)) return true
    if (l === undefined || r === undefined) return false
    if (l !== r && l !== '+' && r !== '+') return false
  }
}

function isSystemLevel(level: string | undefined): boolean {
  return level?.startsWith('$') === true
}

function isReserved(topic: string): boolean {
  return topic.startsWith('$') || topic === 'marram' || topic.startsWith('marram/')
}

function controlFault(topic: string): string | null {
  // eslint-disable-next-line no-control-regex
  return /[\u0000-\u001f\u007f-\u009f]/.test(topic) ? 'it has a control character' : null
}
