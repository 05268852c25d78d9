/** Control characters but line feeds, and those that turn the direction of text. */
const STEERING = /(?!\n)[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu

/**
 * Text for a person at a terminal: names and values that others chose must not move its cursor or hide what follows, so
 * characters that could are shown as `\u001b`.
 */
export function printable(text: string): string {
  return text.replace(STEERING, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
