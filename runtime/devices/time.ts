/** ISO 8601 of Unix milliseconds, or null when they are no time that a Date can hold. */
export function msText(ms: number): string | null {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : null
}
