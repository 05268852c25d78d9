/** Topic patterns: `{name}` is one level, `{name...}` at the end is all that follows. */
export interface TopicPattern {
  /** The values of the names, or null when the topic doesn't match. */
  match(levels: readonly string[]): ReadonlyMap<string, string> | null
  /** The first level when it is fixed: topics are looked up by it. */
  readonly first: string | null
}

interface Level {
  readonly text: string
  readonly kind: 'fixed' | 'name' | 'tail'
}

export function compilePattern(pattern: string): TopicPattern {
  const levels = pattern.split('/').map(levelOf)
  const last = levels.at(-1)
  const hasTail = last?.kind === 'tail'
  const first = levels[0]
  return {
    first: first?.kind === 'fixed' ? first.text : null,
    match: (topic) => {
      if (hasTail ? topic.length < levels.length : topic.length !== levels.length) return null
      const values = new Map<string, string>()
      for (let i = 0; i < levels.length; i++) {
        const level = levels[i] as Level
        const actual = topic[i] as string
        if (level.kind === 'tail') values.set(level.text, topic.slice(i).join('/'))
        else if (level.kind === 'name') values.set(level.text, actual)
        else if (level.text !== actual) return null
      }
      return values
    },
  }
}

function levelOf(text: string): Level {
  const name = /^\{([^{}]+?)(\.\.\.)?\}$/.exec(text)
  if (!name) return { text, kind: 'fixed' }
  return { text: name[1] as string, kind: name[2] ? 'tail' : 'name' }
}

/** `{name}` in a key template stands for the value of a level. */
export function compileKey(template: string): (values: ReadonlyMap<string, string>) => string {
  return (values) => template.replace(/\{([^{}]+?)(?:\.\.\.)?\}/g, (_, name: string) => values.get(name) ?? '')
}
