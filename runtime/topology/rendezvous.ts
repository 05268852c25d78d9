/**
 * A number of 32 bits for names taken together (FNV-1a with the finish of MurmurHash3): whoever has the highest is chosen,
 * which all compute alike and which changes only for those whom a coming or going concerns (Thaler and Ravishankar,
 * "Using name-based mappings to increase hit rates"). No secret: whoever may make keys may choose a name that wins.
 */
export function rendezvous(...names: readonly string[]): number {
  let hash = 0x811c9dc5
  for (const name of names) {
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
    hash = Math.imul(hash ^ 0xff, 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
