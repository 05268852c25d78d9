/** How an address came to be known. `remembered`: a link over it came about before, maybe before a restart. */
export type AddressSource = 'bootstrap' | 'mdns' | 'exchange' | 'remembered'

/** Where a gateway of this mesh is said to be. Nobody vouches for it: who is there is proven when it is dialled. */
export interface Hint {
  /** `mqtt://host:port`. */
  readonly address: string
  /** Whom it is said to lead to. */
  readonly peerId: string
}

/** What a discovery on the local network has done since it started. */
export interface DiscoveryFigures {
  /** Addresses of the interfaces that it speaks and listens on. */
  readonly interfaces: readonly string[]
  /** Packets that came, were read, and were dropped unread by shape or by rate; packets that went out. */
  readonly received: number
  readonly read: number
  readonly dropped: number
  readonly sent: number
}

/** Finds gateways of the mesh, and lets them find this one. */
export interface Discovery {
  start(): void
  figures(): DiscoveryFigures
  /** Says goodbye. Never fails. */
  close(): Promise<void>
}
