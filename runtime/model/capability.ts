import type { Hlc } from './stamp.ts'

/** Rights over collections (protocol D4); a grant holds their sum. */
export const RIGHT_READ = 1
export const RIGHT_WRITE = 2
export const RIGHT_DELETE = 4
export const RIGHT_RELAY = 8
export const RIGHT_ADMIN = 64

export interface Grant {
  /** `collection`, `collection/partition-prefix`, or `*` for every collection that is not the system's. */
  readonly pattern: string
  readonly rights: number
}

/** The claims of a capability (CWT claims in COSE_Sign1, protocol D4): what its issuer lets its subject do. */
export interface Capability {
  /** The issuer's public key: the mesh's root, or an administrator. 32 bytes. */
  readonly issuer: Uint8Array
  /** The subject's Ed25519 public key, 32 bytes, and its X25519 key for links, 32 bytes. */
  readonly subject: Uint8Array
  readonly linkKey: Uint8Array
  /** Valid for batches with notBefore < hlc < expires. */
  readonly notBefore: Hlc
  readonly expires: Hlc
  /** 16 random bytes. */
  readonly id: Uint8Array
  readonly grants: readonly Grant[]
  readonly roles: readonly string[]
  /** The subject's name for people, at most 63 bytes. */
  readonly name: string
  /** The invite it came from, 8 bytes, or null. */
  readonly invite: Uint8Array | null
}
