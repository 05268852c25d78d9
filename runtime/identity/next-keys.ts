import { existsSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { deviceKeysFrom, generateDeviceKeys, peerIdOf, type DeviceKeys } from '../crypto/identity.ts'
import { Fields, loadIdentity, saveDeviceKeys, saveMembership } from './identity.ts'
import { base64url } from '../base/bytes.ts'
import { flushFolder, writeDurably } from './files.ts'

/** The keys that are to take the place of this gateway's, in `DIR/identity/next.json`. */
export interface NextKeys {
  readonly keys: DeviceKeys
  /** What proves their membership, leaf first; null until an administrator's gateway has admitted them. */
  readonly chain: readonly Uint8Array[] | null
}

const nextFile = (dir: string): string => join(dir, 'identity', 'next.json')

export function loadNextKeys(dir: string): NextKeys | null {
  if (!existsSync(nextFile(dir))) return null
  const next = new Fields(nextFile(dir))
  const keys = deviceKeysFrom(next.bytes('secretKey', 32), next.bytes('linkSecretKey', 32))
  return { keys, chain: next.chain() }
}

/** New keys, on the disk before anybody is told of them; those that wait already are kept. */
export function makeNextKeys(dir: string): NextKeys {
  const waiting = loadNextKeys(dir)
  if (waiting !== null) return waiting
  const next = { keys: generateDeviceKeys(), chain: null }
  save(dir, next)
  return next
}

/** From the next start on the gateway goes by them. */
export function admitNextKeys(dir: string, { keys }: NextKeys, chain: readonly Uint8Array[]): void {
  save(dir, { keys, chain })
}

/**
 * Puts admitted keys in the place of this gateway's. Every step can be done again: power may go between any two, and the next start
 * goes on. The old secret keys are gone then.
 */
export function takeNextKeys(dir: string): void {
  const next = loadNextKeys(dir)
  if (next === null || next.chain === null) return
  const { keys, mesh } = loadIdentity(dir)
  const peerId = peerIdOf(keys.publicKey)
  const succeeds = peerId === peerIdOf(next.keys.publicKey) ? mesh.succeeds : peerId
  saveMembership(dir, { ...mesh, chain: next.chain, succeeds })
  saveDeviceKeys(dir, next.keys)
  forgetNextKeys(dir)
}

export function forgetNextKeys(dir: string): void {
  rmSync(nextFile(dir))
  flushFolder(dirname(nextFile(dir)))
}

function save(dir: string, { keys, chain }: NextKeys): void {
  const { secretKey, linkSecretKey } = keys
  const content = {
    secretKey: base64url(secretKey),
    linkSecretKey: base64url(linkSecretKey),
    chain: chain && chain.map(base64url),
  }
  writeDurably(nextFile(dir), `${JSON.stringify(content, null, 2)}\n`)
}
