import type { Value } from '../model/value.ts'

/** Picks a value; undefined when it isn't there. */
export type Picker = (message: Value) => Value | undefined

/** RFC 9535 singular paths: `$`, `.name`, `['name']`, `[0]`, `[-1]`. The profile's check has seen the syntax already. */
export function compilePath(path: string): Picker {
  const steps = stepsOf(path)
  return (message) => {
    let value: Value | undefined = message
    for (const step of steps) {
      if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return undefined
      if (typeof step === 'number') value = Array.isArray(value) ? (value as readonly Value[]).at(step) : undefined
      else
        value =
          !Array.isArray(value) && Object.hasOwn(value, step)
            ? (value as { readonly [key: string]: Value })[step]
            : undefined
      if (value === undefined) return undefined
    }
    return value
  }
}

function stepsOf(path: string): (string | number)[] {
  const steps: (string | number)[] = []
  const step = /\.([^.[\]]+)|\[(-?\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]/gy
  step.lastIndex = path.startsWith('$') ? 1 : 0
  for (let match = step.exec(path); match; match = step.exec(path)) {
    const [, name, index, single, double] = match
    if (index !== undefined) steps.push(Number(index))
    else steps.push(name ?? (single ?? double ?? '').replace(/\\(.)/g, '$1'))
  }
  return steps
}
