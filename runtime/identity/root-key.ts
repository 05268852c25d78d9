import { existsSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { base64url, equal, fromBase64url, hex } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import { createSigner } from '../crypto/signature.ts'
import { flushFolder, readJson, writeDurably } from './files.ts'
import { loadIdentity, loadRootKey, saveRootKey } from './identity.ts'

/**
 * The mesh's root key appoints and removes administrators, and nothing that runs every day needs it: it can be kept in a
 * file elsewhere, and be put back, on any gateway of the mesh, for as long as it is needed.
 */
const KIND = 'marram-root-key'

/**
 * Copies the root key to a new file, readable by its owner alone; with `remove` it is then gone from the gateway. Throws
 * `not-found`, `already-exists`, `storage-io`, `storage-full`.
 */
export function exportRootKey(dir: string, path: string, remove: boolean): void {
  const { mesh } = loadIdentity(dir)
  const secretKey = loadRootKey(dir, mesh)
  if (!secretKey)
    throw new MarramError('not-found', `Cannot export the root key of "${dir}": this gateway does not hold it`)
  if (existsSync(path))
    throw new MarramError('already-exists', `Cannot export the root key to "${path}": it exists, name a new file`)
  const content = { kind: KIND, version: 1, mesh: mesh.name, meshId: hex(mesh.meshId), secretKey: base64url(secretKey) }
  writeDurably(path, `${JSON.stringify(content, null, 2)}\n`)
  if (!equal(readKey(path), secretKey))
    throw new MarramError(
      'storage-io',
      `Cannot export the root key to "${path}": the file holds something else, nothing was removed`,
    )
  if (remove) removeRootKey(dir)
}

/** Throws `not-found`, `bad-request`, `storage-damaged`. */
export function importRootKey(dir: string, path: string): void {
  const { mesh } = loadIdentity(dir)
  const secretKey = readKey(path)
  if (!equal(createSigner(secretKey).publicKey, mesh.rootPublicKey))
    throw new MarramError(
      'bad-request',
      `Cannot import "${path}": it holds the root key of another mesh, this is ${mesh.name}`,
    )
  saveRootKey(dir, secretKey)
}

function readKey(path: string): Uint8Array {
  const content = readJson(path)
  if (content === null) throw new MarramError('not-found', `Cannot import "${path}": there is no such file`)
  const { kind, secretKey } = content as { readonly kind?: unknown; readonly secretKey?: unknown }
  const bytes = typeof secretKey === 'string' ? fromBase64url(secretKey) : null
  if (kind !== KIND || bytes?.length !== 32)
    throw new MarramError(
      'bad-request',
      `Cannot import "${path}": it must be a file that "marram keys export" has written`,
    )
  return bytes
}

function removeRootKey(dir: string): void {
  const path = join(dir, 'identity', 'root.json')
  rmSync(path)
  flushFolder(dirname(path))
}
