/** `1 batch`, `2 batches`, `0 writes`; `many` where it isn't the word with an s. */
export function amountText(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}

export function batchesText(count: number): string {
  return amountText(count, 'batch', 'batches')
}

const UNITS = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
] as const

/** A length of time for people, two digits or three: `90 s`, `25 min`, `40 h`, `12 d`. */
export function spanText(seconds: number): string {
  const [unit, length] = UNITS.find(([, each]) => seconds >= 2 * each) ?? ['s', 1]
  return `${Math.round(seconds / length)} ${unit}`
}
