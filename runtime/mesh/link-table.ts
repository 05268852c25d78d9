import type { LinkPeer } from '../ports/link.ts'
import type { Channel, RemoteProof } from './channel.ts'

/** One side's end of an authenticated connection. */
export interface Transport {
  /** False when it takes no more bytes. */
  send(frame: Uint8Array): boolean
  close(): void
  /** The third party's broker that it goes through: a direct connection to the same gateway takes its place. */
  readonly relay?: string
}

/** Why a connection to our own listener becomes no link. */
export const IS_SELF = 'it is this gateway itself'

/** What those who make connections, by dialling or by listening, need of the table of links. */
export interface LinkTable {
  /** A reason to refuse the proof of the other side, or the peer it proves. */
  judge(remote: RemoteProof): LinkPeer | string
  /** The number of the link that the connection became, or null when there is a better one already. */
  established(peer: LinkPeer, channel: Channel, transport: Transport, isDialled: boolean): number | null
  received(link: number, frameBytes: number, bytes: Uint8Array): void
  /** The connection under a link ended. */
  lost(link: number, reason: string): void
  isLinkedTo(peerId: string): boolean
}
