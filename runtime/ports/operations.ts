import type { Fields, Value } from '../model/value.ts'
import type { ClockClass } from './clock.ts'
import type { AddressSource, DiscoveryFigures } from './discovery.ts'
import type { Replications, ReplicationView } from './replication.ts'
import type { Conflict, StorageStatus } from './store.ts'

/**
 * What a gateway does for its users, whichever door they come through: command line, MQTT, HTTP, library. Every failure
 * is a MarramError. Shapes are those that users see as JSON.
 */

export interface Receipt {
  readonly key: string
  readonly stamp: string
  /** How many other gateways have it on their disks, when that was waited for. */
  readonly held?: number
}

/** How long a write takes: until it is on the disk here, or on those of so many other gateways as well. */
export interface WaitOptions {
  /**
   * Neighbours (gateways that were linked with this one) that must have it on their disks. The write is done before: when too
   * few have confirmed it in time it fails with `unconfirmed`, and stands all the same.
   */
  readonly wait?: number
  /** 30,000 when not given. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface DocumentView {
  readonly key: string
  readonly value: Fields
  /** Of a row of a series: when it was taken (ISO 8601), and what tells it from other rows of its key. */
  readonly time?: string
  readonly row?: string
}

export interface Provenance {
  readonly author: string
  readonly stamp: string
  /** Feed id in hexadecimal. */
  readonly feed: string
  readonly sequence: number
  /** Whether the stored batch's hash and signature verify, checked now. */
  readonly valid: boolean
  /** Of a counter what each author counted, of a set and of links each element; the rest is then that of the last write. */
  readonly parts?: readonly ProvenancePart[]
}

export interface ProvenancePart extends Omit<Provenance, 'parts'> {
  readonly value: Value
}

export interface Query {
  readonly prefix?: string
  /** `field op value` joined by and/or: see runtime/model/query.ts. */
  readonly where?: string
  /** A field to sort by, `-field` for descending; without it by key. */
  readonly order?: string
  /** Documents of one key in several partitions are not parted: the last ones may be more. */
  readonly limit?: number
  /** Begin after this key (pages); only without `order`. In a series after this row: its key, a NUL and its `row`. */
  readonly after?: string
  /** Rows of a series from this time on, and before that one: ISO 8601, or how long ago (`2h`). */
  readonly from?: string
  readonly to?: string
  /** Of a series the last row of each key alone; documents are that anyway. */
  readonly latest?: boolean
}

export interface PutOptions extends WaitOptions {
  /** Removes the fields that are not named. */
  readonly replace?: boolean
  /** Takes a plain number for a counter, and counts what it lacks: what an import of exported documents needs. */
  readonly exact?: boolean
  /** Of a row that was exported (`row` of DocumentView): it keeps its time, and is not added twice. */
  readonly row?: string
}

export interface WalkOptions {
  /** How far links are followed, 1 when not given. */
  readonly depth?: number
  /** What leads here instead. */
  readonly reverse?: boolean
}

/** One link of a walk: of `from`, the document nearer to the start, or with `reverse` one that leads to it. */
export interface WalkStep {
  readonly depth: number
  readonly from: { readonly collection: string; readonly key: string }
  readonly field: string
  readonly label: string | null
  readonly collection: string
  readonly key: string
  /** Null when there is no such document. */
  readonly value: Fields | null
}

export interface WatchOptions {
  readonly prefix?: string
  readonly where?: string
  /** A cursor of an earlier event: only what changed after it. Without it current matches come first as `enter`. */
  readonly since?: string
  readonly signal?: AbortSignal
}

export interface WatchEvent {
  readonly change: 'enter' | 'change' | 'leave'
  readonly key: string
  readonly value: Fields
  /** Of a row of a series, as in DocumentView. */
  readonly time?: string
  readonly row?: string
  readonly cursor: string
}

/** One document of an atomic batch; without fields it is deleted. */
export interface BatchWrite {
  readonly key: string
  readonly fields?: { readonly [path: string]: Value }
}

export interface Documents {
  /** Merges the fields, null removes one; in a series adds a row. Resolves when it is on the disk. */
  put(
    collection: string,
    key: string,
    fields: { readonly [path: string]: Value },
    options?: PutOptions,
  ): Promise<Receipt>
  /**
   * Writes several documents of a state collection at once: all of it or nothing, here and on every other gateway. Resolves
   * when it is on the disk, with the stamp of the last. `too-large` over 1,024 operations or 48 KiB when encoded.
   */
  batch(
    collection: string,
    writes: readonly BatchWrite[],
    options?: WaitOptions,
  ): Promise<{ readonly stamp: string; readonly held?: number }>
  /** Throws what every write to the collection would be refused with. */
  checkWritable(collection: string): void
  /** Resolves when it is on the disk. `not-found` when there is no such document, `not-supported` in a series. */
  delete(collection: string, key: string, options?: WaitOptions): Promise<Receipt>
  /**
   * Whether the collection, or a part of it, can be read here: not when this gateway doesn't keep it, `not-kept`, or has no key for
   * it, `no-key`.
   */
  isKept(collection: string): boolean
  /** In a series the key's last row. */
  get(collection: string, key: string): DocumentView | undefined
  provenance(collection: string, key: string): { readonly [path: string]: Provenance } | undefined
  /** Lazy: documents are read in slices as the iterator is pulled, no read transaction is held in between. */
  list(collection: string, query?: Query): Iterable<DocumentView>
  count(collection: string, query?: Query): number
  /** Documents reached over links, nearest first. Throws `not-found`, `too-large`. */
  walk(collection: string, key: string, options?: WalkOptions): Iterable<WalkStep>
  /** Concurrent writes of which one was lost, the latest first. */
  conflicts(options?: { readonly collection?: string; readonly limit?: number }): Iterable<Conflict>
  /** Ends by `options.signal` and when the gateway stops. */
  watch(collection: string, options?: WatchOptions): AsyncIterable<WatchEvent>
  /** Digests in hexadecimal by collection, names sorted, empty collections left out. `not-found` of one that was never written. */
  digest(collection?: string): { readonly collections: { readonly [name: string]: string } }
}

/** Batches that are lacking somewhere, their bytes, and the age of the oldest. */
export interface LagView {
  readonly batches: number
  readonly bytes: number
  readonly seconds: number
}

/** Where a gateway stands in the mesh, as it says itself; nulls of one that has not been heard of. */
export interface PlaceView {
  readonly cell: string | null
  /** How many links it has. */
  readonly links: number | null
  /** Whether it is to keep links to other cells. */
  readonly bridge: boolean
  readonly superPeer: boolean
}

export interface PeerView extends PlaceView {
  readonly peerId: string
  readonly name: string
  /** `up`: linked; `known`: a member that is not linked now. */
  readonly state: 'up' | 'known'
  /** Whether there is a way to it, over others' links too, as far as is known. */
  readonly reachable: boolean
  /** Of the link, 0 to 100: what round-trip time, loss, lag, age and cost leave of it; null without a link. */
  readonly quality: number | null
  readonly latencyMs: number | null
  /**
   * What this gateway holds and the peer has not confirmed to have on its disk; of one that isn't linked as of the last
   * contact and what came since. Null when there never was a link with it.
   */
  readonly lag: LagView | null
  /** When it was heard last, ISO 8601, or null when never. */
  readonly lastContact: string | null
  readonly version: string | null
  readonly link: {
    readonly bytesSent: number
    readonly bytesReceived: number
    readonly since: string
    /** The relay that it goes through; null when it is direct. */
    readonly relay: string | null
  } | null
  /** Where it may be dialled, and how that came to be known. */
  readonly addresses: readonly { readonly address: string; readonly from: readonly AddressSource[] }[]
}

export interface StatusView {
  readonly peerId: string
  readonly meshId: string
  readonly mesh: string
  readonly name: string
  /** `running`, `storage-full` (reads and links go on), or `offline` (read from the store of a gateway that doesn't run). */
  readonly state: 'running' | 'storage-full' | 'offline'
  readonly enrolled: boolean
  /** Why enrolment failed, or null. */
  readonly enrolment: string | null
  readonly version: string
  /** Seconds. */
  readonly uptime: number
  readonly profile: { readonly id: string; readonly revision: number }
  /** Patterns of what this gateway keeps. */
  readonly interest: readonly string[]
  readonly listeners: readonly string[]
  /** SHA-256 of the certificate that devices are given to trust (`AA:BB:…`); null without a TLS listener. */
  readonly certificate: string | null
  readonly collections: {
    readonly [name: string]: { readonly kind: 'state' | 'series'; readonly count: number; readonly digest: string }
  }
  /**
   * Of encrypted collections: the number of the epoch that is written with now (null before there is one), whether its key
   * is here, how many batches are stored and wait for a key, and how many writes of devices are held until it comes.
   */
  readonly encryption: {
    readonly [name: string]: {
      readonly epoch: number | null
      readonly readable: boolean
      readonly waiting: number
      readonly held: number
    }
  }
  /** The neighbourhood that this gateway is in, and whether it is to keep links to others. */
  readonly cell: string | null
  readonly bridge: boolean
  readonly superPeer: boolean
  /** Links that are up, how many are wanted, and bytes over links since start. */
  readonly links: {
    readonly up: number
    readonly wanted: number
    readonly bytesSent: number
    readonly bytesReceived: number
    /** What the profile lets this gateway send, null without a limit, and what of it is spent; `dayEndsIn` in seconds. */
    readonly budget: {
      readonly bytesPerSecond: number | null
      readonly bytesPerDay: number | null
      readonly sentToday: number
      readonly dayEndsIn: number
    } | null
  }
  /** How many addresses are known from each source; what multicast DNS has done, null when it is off or not running. */
  readonly discovery: {
    readonly addresses: { readonly [source in AddressSource]?: number }
    readonly mdns: DiscoveryFigures | null
  }
  /** The greatest lag of any linked peer. */
  readonly lag: LagView
  /** Concurrent writes of which one was lost, as far as they are remembered: see `conflicts`. */
  readonly conflicts: number
  /** What was refused for good and is remembered: see `quarantine`. */
  readonly quarantine: { readonly batches: number; readonly messages: number }
  /** Local writes not yet on the disk; messages queued for absent MQTT clients; what no other gateway is known to have. */
  readonly queue: {
    readonly writes: number
    readonly messages: number
    readonly messageBytes: number
    readonly unconfirmed: LagView
  }
  /** Standing transfers to chosen gateways. */
  readonly replications: readonly ReplicationView[]
  readonly clock: ClockStatus
  readonly storage: StorageStatus
  readonly memory: { readonly rss: number }
  readonly warnings: readonly string[]
}

export interface ClockStatus {
  /** 2: the system's clock is vouched for; 1: agreed with neighbours, or kept from when it was known; 0: not known. */
  readonly class: ClockClass
  /** What says so. */
  readonly source: 'timesyncd' | 'chrony' | 'rtc' | 'operator' | 'neighbours' | 'kept' | 'none'
  /** The time that stamps go by, less the system's clock. */
  readonly offsetMs: number
  /** How far the last stamp is ahead of that time. */
  readonly aheadMs: number
}

/** Something that was refused for good: a message of a device, or a batch. */
export interface QuarantineEntry {
  readonly kind: 'batch' | 'message'
  /** A code: of a batch as in NACK (`shape`, `fork`, `not-permitted`, …), of a message one of the error codes. */
  readonly why: string
  readonly message: string
  /** When it was refused first and last, ISO 8601, and how often. */
  readonly first: string
  readonly time: string
  readonly times: number
  /** Of a message. */
  readonly topic?: string
  readonly source?: string | null
  /** Of a batch: the neighbour that sent it, or that refused it (`isOurs`); feed id in hexadecimal. */
  readonly peer?: string
  readonly isOurs?: boolean
  readonly feed?: string
  readonly author?: string
  readonly collection?: string
  readonly sequence?: number
}

export interface InviteOptions {
  readonly role?: string
  /** Milliseconds from now. */
  readonly expiresMs?: number
  readonly uses?: number
  /** When the membership of those that join with it ends: a time, or how long from now; without it never. */
  readonly until?: string
}

export interface MemberView {
  readonly peerId: string
  readonly name: string
  /** See PlaceView. */
  readonly cell: string | null
  readonly bridge: boolean
  readonly superPeer: boolean
  readonly roles: readonly string[]
  /** What it may do: patterns with rights (`read,write`), each with its time; what has no end says null. */
  readonly grants: readonly {
    readonly pattern: string
    readonly rights: string
    readonly since: string
    readonly until: string | null
  }[]
  /**
   * `closing`: it is being removed, see `silent`. `missing`: not heard of for longer than the profile's `mesh.silentAfter`, so it
   * holds up what waits for all members. `ended`: so has all that it was given.
   */
  readonly state: 'member' | 'missing' | 'ended' | 'closing' | 'retired' | 'revoked'
  /** ISO 8601; `until` is null for members without an end, `lastHeard` when nothing of it has come. */
  readonly since: string
  readonly until: string | null
  readonly lastHeard: string | null
  /** Of one that is removed: peer ids of members that have not heard of it, as far as is known here. */
  readonly silent: readonly string[]
  /** The peer id of the member whose place it took, when its keys were replaced, or null. */
  readonly succeeds: string | null
  /**
   * Of one that was revoked: peer ids of the keys that took its place, or the place of those, or that it asked for. Whoever had its
   * keys may have those.
   */
  readonly heirs: readonly string[]
}

export interface RemovalOptions {
  /** `retire`: lost; `revoke`: stolen. */
  readonly reason: 'retire' | 'revoke'
  /** Of a stolen one, what was stamped later is void unless all have confirmed it: ISO 8601, or how long ago (`2h`). */
  readonly since?: string
  /** Does not wait for members that have not said what they hold of it. */
  readonly now?: boolean
}

/** What a member may do beside what it may already. */
export interface GrantOptions {
  /** All that the role stands for. */
  readonly role?: string
  /** `climate/north=read,write`: a collection, maybe with the beginning of its partitions, or `*`; read, write, delete, relay. */
  readonly allow?: readonly string[]
  /** Names of the owner's own choosing. */
  readonly labels?: readonly string[]
  /** From and until when: ISO 8601, or how long from now (`30d`); from now on and for ever when not given. */
  readonly from?: string
  readonly until?: string
}

export interface Administration extends Replications {
  status(): StatusView
  peers(): readonly PeerView[]
  members(): readonly MemberView[]
  /** All that is stored, as the bytes of a backup without keys; one at a time (`overloaded`). */
  backup(): AsyncIterable<Uint8Array>
  /** The latest first. */
  quarantine(): readonly QuarantineEntry[]
  /** Resolves when the mesh is told; `members` shows how far it is. `not-permitted`, `not-found`, `bad-request`. */
  remove(peerId: string, options: RemovalOptions): Promise<void>
  /** Adds to a member's rights. Resolves when it is on the disk. `not-permitted`, `not-found`, `bad-request`. */
  grant(peerId: string, options: GrantOptions): Promise<void>
  invite(options?: InviteOptions): Promise<{ readonly token: string; readonly expires: string }>
  /** Nobody joins with the invite any more; its id in hexadecimal. Who has joined with it stays. `not-permitted`, `not-found`. */
  revokeInvite(id: string): Promise<{ readonly joined: readonly string[] }>
  /** Asks for new keys of this gateway's own; resolves with the peer id that it will have. `not-enrolled`. */
  rotate(): Promise<{ readonly peerId: string }>
  /** The profile in force, as JSON with its defaults filled in. */
  profile(): unknown
  /** Validates, stores and applies a profile; `restart` names the keys that only a restart applies. */
  setProfile(profile: unknown): Promise<{ readonly revision: number; readonly restart: readonly string[] }>
}

export interface Operations extends Documents, Administration {}

/** What a device wrote to an encrypted collection. */
export interface HeldWrite {
  readonly collection: string
  readonly key: string
  /** Null deletes. */
  readonly fields: Fields | null
}

/** Keeps what devices write to encrypted collections until their keys have come. */
export interface Holder {
  /** Whether something is kept of the collection: what comes now goes behind it. */
  isHolding(collection: string): boolean
  /** Resolves when it is on the disk. Rejects with `no-key` when no more is kept. */
  hold(write: HeldWrite): Promise<void>
}
