import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { base64url, equal, fromBase64url } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import { deviceKeysFrom, type DeviceKeys } from '../crypto/identity.ts'
import { createSigner } from '../crypto/signature.ts'
import { readJson, writeDurably } from './files.ts'

/** Who this gateway is: `DIR/identity/`, readable by its owner alone. */
export interface Identity {
  readonly keys: DeviceKeys
  readonly mesh: MeshMembership
}

/** The mesh it belongs to, or has been invited to. */
export interface MeshMembership {
  readonly meshId: Uint8Array
  readonly name: string
  readonly rootPublicKey: Uint8Array
  /** What proves its membership, leaf first; null until it is admitted. */
  readonly chain: readonly Uint8Array[] | null
  /** The token it was invited with, until it is admitted. */
  readonly invite: string | null
  /** Why the mesh refused it, or null. */
  readonly refusal: string | null
  /** Where the gateway that admitted it was reached. */
  readonly addresses: readonly string[]
  /** The peer id that this gateway had before its keys were replaced, or null. */
  readonly succeeds: string | null
}

const deviceFile = (dir: string): string => join(dir, 'identity', 'device.json')
const meshFile = (dir: string): string => join(dir, 'identity', 'mesh.json')
const rootFile = (dir: string): string => join(dir, 'identity', 'root.json')

export function hasIdentity(dir: string): boolean {
  return existsSync(deviceFile(dir))
}

/** Throws `no-identity` when there is none. */
export function loadIdentity(dir: string): Identity {
  if (!hasIdentity(dir)) {
    throw new MarramError(
      'no-identity',
      `Cannot use "${dir}": it holds no identity, make one with "marram init --mesh NAME" or "marram join TOKEN"`,
    )
  }
  const device = new Fields(deviceFile(dir))
  const mesh = new Fields(meshFile(dir))
  return {
    keys: deviceKeysFrom(device.bytes('secretKey', 32), device.bytes('linkSecretKey', 32)),
    mesh: {
      meshId: mesh.bytes('meshId', 16),
      name: mesh.text('name'),
      rootPublicKey: mesh.bytes('rootPublicKey', 32),
      chain: mesh.chain(),
      invite: mesh.optionalText('invite'),
      refusal: mesh.optionalText('refusal'),
      addresses: mesh.texts('addresses'),
      succeeds: mesh.optionalText('succeeds'),
    },
  }
}

/** Keys last: an identity that was cut short by a power cut isn't there at all. */
export function saveIdentity(dir: string, identity: Identity, rootSecretKey: Uint8Array | null): void {
  if (rootSecretKey) saveRootKey(dir, rootSecretKey)
  saveMembership(dir, identity.mesh)
  saveDeviceKeys(dir, identity.keys)
}

export function saveDeviceKeys(dir: string, { secretKey, linkSecretKey }: DeviceKeys): void {
  writeDurably(deviceFile(dir), json({ secretKey: base64url(secretKey), linkSecretKey: base64url(linkSecretKey) }))
}

export function saveRootKey(dir: string, secretKey: Uint8Array): void {
  writeDurably(rootFile(dir), json({ secretKey: base64url(secretKey) }))
}

/**
 * The mesh's root key where this gateway holds it; null where it was never, or has been taken away. That of another mesh, as an
 * `init` leaves behind that power cut short, is none.
 */
export function loadRootKey(dir: string, { rootPublicKey }: MeshMembership): Uint8Array | null {
  if (!existsSync(rootFile(dir))) return null
  const secretKey = new Fields(rootFile(dir)).bytes('secretKey', 32)
  return equal(createSigner(secretKey).publicKey, rootPublicKey) ? secretKey : null
}

export function saveMembership(dir: string, mesh: MeshMembership): void {
  const { meshId, name, rootPublicKey, chain, invite, refusal, addresses, succeeds } = mesh
  const content = {
    meshId: base64url(meshId),
    name,
    rootPublicKey: base64url(rootPublicKey),
    chain: chain && chain.map(base64url),
    invite,
    refusal,
    addresses,
    ...(succeeds !== null && { succeeds }),
  }
  writeDurably(meshFile(dir), json(content))
}

function json(content: object): string {
  return `${JSON.stringify(content, null, 2)}\n`
}

/** A JSON file whose fields are checked as they are read. */
export class Fields {
  readonly #path: string
  readonly #fields: { readonly [name: string]: unknown }

  constructor(path: string) {
    this.#path = path
    const content = readJson(path)
    if (typeof content !== 'object' || content === null) throw this.#damaged('the file', 'a JSON object')
    this.#fields = content as { readonly [name: string]: unknown }
  }

  text(name: string): string {
    const value = this.#fields[name]
    if (typeof value !== 'string') throw this.#damaged(name, 'a string')
    return value
  }

  optionalText(name: string): string | null {
    return this.#fields[name] === null || this.#fields[name] === undefined ? null : this.text(name)
  }

  texts(name: string): readonly string[] {
    const value = this.#fields[name] ?? []
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'string'))
      throw this.#damaged(name, 'a list of strings')
    return value as string[]
  }

  bytes(name: string, length: number): Uint8Array {
    const bytes = fromBase64url(this.text(name))
    if (bytes?.length !== length) throw this.#damaged(name, `${length} bytes in base64url`)
    return bytes
  }

  chain(): readonly Uint8Array[] | null {
    const links = this.#fields['chain']
    if (links === null) return null
    if (!Array.isArray(links)) throw this.#damaged('chain', 'a list of capabilities')
    return links.map((link) => {
      const bytes = typeof link === 'string' ? fromBase64url(link) : null
      if (!bytes) throw this.#damaged('chain', 'a list of capabilities in base64url')
      return bytes
    })
  }

  #damaged(name: string, expected: string): MarramError {
    return new MarramError(
      'storage-damaged',
      `Cannot read "${this.#path}": "${name}" must be ${expected}; restore the file from a copy`,
    )
  }
}
