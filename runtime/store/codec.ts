/**
 * The store's own encoding: what it writes to its disk and what it hashes. Lengths and integers are LEB128 (7 bits a byte,
 * low ones first); a value is a tag and what the tag says. The bytes never leave the machine, but digests over them are
 * compared between gateways: what it is for a document's canonical form it must stay (golden test).
 */

export const TAG_NULL = 0
export const TAG_FALSE = 1
export const TAG_TRUE = 2
export const TAG_NATURAL = 3
export const TAG_NEGATIVE = 4
export const TAG_FLOAT = 5
export const TAG_TEXT = 6
export const TAG_BYTES = 7
export const TAG_ARRAY = 8
export const TAG_OBJECT = 9
