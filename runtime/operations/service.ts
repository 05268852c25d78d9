import type {
  Administration,
  GrantOptions,
  InviteOptions,
  MemberView,
  Operations,
  PeerView,
  QuarantineEntry,
  RemovalOptions,
  StatusView,
} from '../ports/operations.ts'
import type { ReplicationTarget, ReplicationView } from '../ports/replication.ts'
import { DocumentService, type DocumentSurroundings } from './documents.ts'

/** Documents and administration together: what every door of a gateway opens onto. */
export class OperationService extends DocumentService implements Operations {
  readonly #administration: Administration

  constructor(surroundings: DocumentSurroundings, administration: Administration) {
    super(surroundings)
    this.#administration = administration
  }

  status(): StatusView {
    return this.#administration.status()
  }

  peers(): readonly PeerView[] {
    return this.#administration.peers()
  }

  members(): readonly MemberView[] {
    return this.#administration.members()
  }

  backup(): AsyncIterable<Uint8Array> {
    return this.#administration.backup()
  }

  quarantine(): readonly QuarantineEntry[] {
    return this.#administration.quarantine()
  }

  remove(peerId: string, options: RemovalOptions): Promise<void> {
    return this.#administration.remove(peerId, options)
  }

  grant(peerId: string, options: GrantOptions): Promise<void> {
    return this.#administration.grant(peerId, options)
  }

  invite(options?: InviteOptions): Promise<{ readonly token: string; readonly expires: string }> {
    return this.#administration.invite(options)
  }

  revokeInvite(id: string): Promise<{ readonly joined: readonly string[] }> {
    return this.#administration.revokeInvite(id)
  }

  rotate(): Promise<{ readonly peerId: string }> {
    return this.#administration.rotate()
  }

  replications(): readonly ReplicationView[] {
    return this.#administration.replications()
  }

  replicate(collection: string, target: ReplicationTarget): Promise<ReplicationView> {
    return this.#administration.replicate(collection, target)
  }

  stopReplicating(collection: string, target: ReplicationTarget): Promise<ReplicationView> {
    return this.#administration.stopReplicating(collection, target)
  }

  profile(): unknown {
    return this.#administration.profile()
  }

  setProfile(profile: unknown): Promise<{ readonly revision: number; readonly restart: readonly string[] }> {
    return this.#administration.setProfile(profile)
  }
}
