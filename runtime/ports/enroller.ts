/** Somebody who holds an invite asks to be let in (protocol D6). */
export interface JoinRequest {
  readonly inviteId: Uint8Array
  readonly secret: Uint8Array
  /** Ed25519 and X25519, 32 bytes each. */
  readonly publicKey: Uint8Array
  readonly linkKey: Uint8Array
  readonly name: string
  /** Of its handshake with the gateway that it reached, and its signature of that. */
  readonly handshakeHash: Uint8Array
  readonly signature: Uint8Array
}

export type JoinRefusal = 'used' | 'expired' | 'unknown' | 'cannot-enrol'

export type JoinAnswer =
  /** What proves the new member, leaf first, and where others are. */
  | { readonly chain: readonly Uint8Array[]; readonly addresses: readonly string[] }
  /** With `cannot-enrol`: where those are who can. */
  | { readonly refusal: JoinRefusal; readonly addresses?: readonly string[] }

/** Resolves when the new member is on the disk; the same key gets the same answer again. */
export type Enroller = (request: JoinRequest) => Promise<JoinAnswer>
