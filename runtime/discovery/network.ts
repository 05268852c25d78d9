/** The local network as multicast DNS needs it; tests have one in memory. */
export interface Network {
  /** From now on packets to the group are heard here, whichever interface they came over. */
  listen(onPacket: (packet: Buffer, source: string) => void): void
  /**
   * Looks at the interfaces anew: joins the group where it is no member, opens what is new or had failed, closes what is
   * gone. One IPv4 address of each interface it speaks on; loopback is none.
   */
  refresh(): readonly string[]
  /** Over the interface with that address; lost without a word when it can't be sent. */
  send(packet: Uint8Array, from: string): void
  close(): void
}
