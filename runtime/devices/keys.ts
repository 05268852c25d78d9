/** A document's key as one level of a topic: `/`, `+`, `#`, `%` and control characters are percent-encoded. */
export function encodeKey(key: string): string {
  return key.replace(/[/+#%\p{Cc}]/gu, encodeURIComponent)
}

/** Null when the level is not well encoded. */
export function decodeKey(level: string): string | null {
  try {
    return decodeURIComponent(level)
  } catch {
    return null
  }
}
