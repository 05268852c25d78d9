import { join } from 'node:path'
import { Keyring, type CollectionKey } from '../access/keyring.ts'
import { base64url, fromBase64url } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import { readJson, writeDurably } from './files.ts'

/**
 * `identity/collection-keys.json`: the keys of encrypted collections, readable by the owner alone like the key that they were
 * sealed to. The store needs them before it can read the documents that they come in; when the file is lost they are
 * taken from these again.
 */
const pathOf = (dir: string): string => join(dir, 'identity', 'collection-keys.json')

/** Throws `storage-damaged`. */
export function loadKeyring(dir: string): Keyring {
  const content = readJson(pathOf(dir)) as { readonly keys?: unknown } | null
  if (content === null) return new Keyring()
  const entries = Array.isArray(content.keys) ? (content.keys as unknown[]) : [null]
  return new Keyring(entries.map((entry) => keyOf(dir, entry)))
}

/** On the disk when it returns. Throws `storage-full`, `storage-io`. */
export function saveKeyring(dir: string, keyring: Keyring): void {
  const keys = [...keyring.all()].map(({ collection, epoch, key }) => ({ collection, epoch, key: base64url(key) }))
  writeDurably(pathOf(dir), `${JSON.stringify({ version: 1, keys }, null, 2)}\n`)
}

function keyOf(dir: string, entry: unknown): CollectionKey {
  const { collection, epoch, key } = (entry ?? {}) as { readonly [name: string]: unknown }
  const bytes = typeof key === 'string' ? fromBase64url(key) : null
  if (typeof collection === 'string' && typeof epoch === 'number' && bytes !== null)
    return { collection, epoch, key: bytes }
  throw new MarramError(
    'storage-damaged',
    `Cannot read "${pathOf(dir)}": it must hold keys of collections; move it away, the gateway takes them from its mesh again`,
  )
}
