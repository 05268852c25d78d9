import type { Capability } from '../model/capability.ts'

/** A neighbour whose key and membership the handshake has proven. */
export interface LinkPeer {
  readonly peerId: string
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array
  /** The capability it showed and the chain above it, each as signed (COSE_Sign1); verified by the link. */
  readonly chain: readonly Uint8Array[]
  readonly capability: Capability
  readonly name: string
}

/** What the links' adapter tells its owner. `link` is a small integer, never used again in this process. */
export interface LinkHandler {
  up(link: number, peer: LinkPeer): void
  /** One decrypted frame: one or more messages. The bytes are the receiver's to keep. */
  frame(link: number, bytes: Uint8Array): void
  down(link: number, reason: string): void
}

/** What the owner asks of it. */
export interface Links {
  /** Encrypts and sends one frame of at most PROTOCOL_LIMITS.frameBytesMax less 64 bytes. False when the link is gone. */
  send(link: number, bytes: Uint8Array): boolean
  close(link: number, reason: string): void
}

/** How to get into a third party's broker: with a name and a password, where its certificate is good. */
export interface RelayLogin {
  readonly user: string
  readonly password: string
  /** PEM of the authority that vouches for it; null takes those that the machine trusts. */
  readonly ca: string | null
}
