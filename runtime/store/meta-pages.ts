import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { endianness } from 'node:os'

/**
 * LMDB takes what its meta pages say for granted: where a card has changed them it ends the process. So they are looked at before. As in
 * mdb.c of lmdb 3, data version 2, on 64 bits: page 0 has a meta and half a page on the last that was flushed, page 1 has the other.
 */
const META_FLAG = 0x08
const MAGIC = 0xbeefc0de
const DATA_VERSION = 2
const META_BYTES = 168
/** Within a meta, from the beginning of its page. */
const AT = { flags: 18, magic: 24, version: 28, pageBytes: 48, roots: [88, 136], transaction: 152 } as const
/** The root of a table without pages. */
const NO_ROOT = 0xffff_ffff_ffff_ffffn

/** Why LMDB could not open the file; null when nothing of its beginning stands against that. Throws what reading it throws. */
export function metaDamage(path: string): string | null {
  if (endianness() !== 'LE' || ['arm', 'ia32'].includes(process.arch)) return null
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  // LMDB makes a new one of it.
  if (size === 0) return null
  const file = openSync(path, 'r')
  try {
    const metaAt = (offset: number): Buffer => {
      const bytes = Buffer.alloc(META_BYTES)
      readSync(file, bytes, 0, META_BYTES, offset)
      return bytes
    }
    const first = metaAt(0)
    if ((first.readUInt16LE(AT.flags) & META_FLAG) === 0 || first.readUInt32LE(AT.magic) !== MAGIC)
      return 'its file does not begin like one of LMDB'
    if ((first.readUInt32LE(AT.version) & 0xffff) !== DATA_VERSION) return null
    const pageBytes = first.readUInt32LE(AT.pageBytes)
    const isWhole = (meta: Buffer): boolean => {
      if (meta.readBigUInt64LE(AT.transaction) === 0n) return true
      const isRoot = (root: bigint): boolean => root === NO_ROOT || (root + 1n) * BigInt(pageBytes) <= BigInt(size)
      return meta.readUInt32LE(AT.pageBytes) === pageBytes && AT.roots.every((at) => isRoot(meta.readBigUInt64LE(at)))
    }
    const isPower = pageBytes >= 512 && pageBytes <= 65_536 && (pageBytes & (pageBytes - 1)) === 0
    if (isPower && [first, metaAt(pageBytes / 2), metaAt(pageBytes)].every(isWhole)) return null
    return 'its meta pages name what is not there'
  } finally {
    closeSync(file)
  }
}
