import { hostname } from 'node:os'
import { MarramError } from './base/errors.ts'
import { hex } from './base/bytes.ts'
import { grantsOf } from './access/roles.ts'
import { generateDeviceKeys, meshIdOf, peerIdOf, randomBytes } from './crypto/identity.ts'
import { createSigner } from './crypto/signature.ts'
import { hasIdentity, saveIdentity } from './identity/identity.ts'
import { takeLock } from './identity/lock.ts'
import { isName } from './model/names.ts'
import { hlcFromMs, HLC_MAX } from './model/stamp.ts'
import { encodeCapability } from './wire/capability.ts'
import { decodeInvite } from './wire/invite.ts'

/** What `init` and `join` leave behind: an identity. They refuse where there is one, and change nothing then. */
export interface NewIdentity {
  readonly peerId: string
  /** Hexadecimal. */
  readonly meshId: string
}

/**
 * Makes an identity and a new mesh: a root key, and, signed by it, an administrator's capability for this gateway's key,
 * so that the root key can leave the gateway. Throws `already-exists`, `bad-request`, `in-use`, `storage-io`.
 */
export function initGateway(options: {
  readonly dir: string
  readonly mesh: string
  /** Of this gateway for people, the machine's host name when not given. */
  readonly name?: string
}): NewIdentity {
  const { dir, mesh, name = hostname() } = options
  if (!isName(mesh))
    throw new MarramError('bad-request', `Cannot name a mesh "${mesh}": it must be 1 to 63 of a-z, 0-9 and "-"`)
  return inEmptyDirectory(dir, () => {
    const rootSecretKey = randomBytes(32)
    const root = createSigner(rootSecretKey)
    const keys = generateDeviceKeys()
    const meshId = meshIdOf(root.publicKey, mesh)
    const capability = {
      issuer: root.publicKey,
      subject: keys.publicKey,
      linkKey: keys.linkPublicKey,
      notBefore: hlcFromMs(Date.now()),
      expires: HLC_MAX,
      id: randomBytes(16),
      grants: grantsOf('admin') ?? [],
      roles: ['admin'],
      name: name.slice(0, 63),
      invite: null,
    }
    const chain = [encodeCapability(capability, meshId, (message) => root.sign(message))]
    const membership = {
      meshId,
      name: mesh,
      rootPublicKey: root.publicKey,
      chain,
      invite: null,
      refusal: null,
      addresses: [],
      succeeds: null,
    }
    saveIdentity(dir, { keys, mesh: membership }, rootSecretKey)
    return { peerId: peerIdOf(keys.publicKey), meshId: hex(meshId) }
  })
}

/**
 * Makes an identity and keeps the invite for `run`, which enrols at its first contact with the mesh. Throws
 * `bad-token` and what `initGateway` throws.
 */
export function joinGateway(options: { readonly dir: string; readonly token: string }): NewIdentity {
  const invite = decodeInvite(options.token)
  if (!invite.ok) throw new MarramError(invite.error.code, invite.error.message)
  const { meshId, meshName, rootPublicKey } = invite.value
  return inEmptyDirectory(options.dir, () => {
    const keys = generateDeviceKeys()
    const membership = {
      meshId,
      name: meshName,
      rootPublicKey,
      chain: null,
      invite: options.token,
      refusal: null,
      addresses: [],
      succeeds: null,
    }
    saveIdentity(options.dir, { keys, mesh: membership }, null)
    return { peerId: peerIdOf(keys.publicKey), meshId: hex(meshId) }
  })
}

function inEmptyDirectory(dir: string, make: () => NewIdentity): NewIdentity {
  // Of a gateway that runs it is said that it has an identity, not that its directory is in use.
  refuseIdentity(dir)
  const lock = takeLock(dir)
  try {
    // Another process may have made one meanwhile, and have told its peer id.
    refuseIdentity(dir)
    return make()
  } finally {
    lock.release()
  }
}

function refuseIdentity(dir: string): void {
  if (!hasIdentity(dir)) return
  throw new MarramError(
    'already-exists',
    `Cannot make an identity in "${dir}": it has one already, choose another directory`,
  )
}
