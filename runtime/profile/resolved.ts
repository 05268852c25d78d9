import type { FieldKinds } from '../model/fields.ts'
import type { Address, HostPort } from './address.ts'
import type { FilledProfile } from './defaults.ts'

/** A profile as the rooms use it: every default filled in, durations in milliseconds, sizes in bytes, addresses taken apart. */
export interface ResolvedProfile {
  readonly id: string
  readonly revision: number
  readonly labels: ReadonlyMap<string, string>
  /** A null name stands for the machine's host name. */
  readonly node: { readonly name: string | null; readonly cell: string | null }
  readonly storage: {
    readonly maxBytes: number
    readonly reserveFreeBytes: number
    readonly flushesPerSecond: number
    readonly encryption: FilledProfile['storage']['encryption']
    /** Null without encryption. */
    readonly key: Credential | null
  }
  readonly broker: {
    readonly listen: readonly Address[]
    readonly users: Credential
    readonly anonymous: FilledProfile['broker']['anonymous']
    readonly maxPacketBytes: number
    readonly sessions: { readonly maxQueued: number; readonly maxQueuedBytes: number; readonly expiryMs: number }
  }
  readonly mesh: {
    readonly discovery: FilledProfile['mesh']['discovery']
    readonly bootstrap: readonly Address[]
    readonly relays: readonly Address[]
    readonly relayLogins: Credential
    readonly links: { readonly min: number; readonly max: number }
    readonly superPeer: boolean
    readonly silentAfterMs: number
  }
  readonly collections: ReadonlyMap<string, ResolvedCollection>
  /** How a collection that is not named is kept, or null when such are not taken: the entry `*`. */
  readonly otherCollections: ResolvedCollection | null
  readonly interest: readonly string[]
  readonly sources: readonly ResolvedSource[]
  readonly bridge: readonly ResolvedBridgeRule[]
  readonly sync: {
    readonly batch: { readonly maxOps: number; readonly maxDelayMs: number }
    readonly history: {
      readonly minBytes: number
      readonly pruneGraceMs: number
      readonly tombstoneGraceMs: number
    }
    readonly priority: ReadonlyMap<string, 'low' | 'normal' | 'high' | 'urgent'>
    /** Null is no limit. */
    readonly budget: { readonly bytesPerSecond: number | null; readonly bytesPerDay: number | null }
  }
  readonly http: { readonly listen: HostPort }
  readonly log: { readonly level: FilledProfile['log']['level'] }
}

/** A file in the data directory (or with an absolute path), or the name of a systemd credential. */
export interface Credential {
  readonly from: 'file' | 'cred'
  readonly name: string
}

export type FilledCollection = FilledProfile['collections'][string]
export type FilledSource = FilledProfile['sources'][number]

export interface ResolvedCollection {
  readonly kind: 'state' | 'series'
  /** The template with `{cell}` filled in. */
  readonly partition: string
  readonly fields: ReadonlyMap<string, FilledCollection['fields'][string]>
  /** Which fields are counters, sets or links, and which are declared to be something else. */
  readonly kinds: FieldKinds
  readonly indexes: readonly string[]
  readonly retain: { readonly ageMs: number | null; readonly bytes: number | null }
  readonly encrypted: boolean
  readonly readers: readonly string[]
}

interface SourceBase {
  readonly id: string
  readonly collection: string
  readonly onlyOnChange: boolean
  readonly onError: 'quarantine' | 'drop'
}

export interface PresetSource extends SourceBase {
  readonly kind: 'preset'
  readonly preset: NonNullable<FilledSource['preset']>
  /** Null is the preset's own base topic. */
  readonly base: string | null
}

export interface TopicSource extends SourceBase {
  readonly kind: 'topic'
  readonly topic: string
  readonly key: string
  /** Null takes every member of the message's object. */
  readonly fields: ReadonlyMap<string, FieldMapping> | null
  readonly time: FilledSource['time'] | null
}

export type ResolvedSource = PresetSource | TopicSource

/** Applied in this order: path, map, scale, offset, round. */
export interface FieldMapping {
  readonly from: string
  readonly map: ReadonlyMap<string, string | number | boolean> | null
  readonly scale: number
  readonly offset: number
  /** Decimal places, or null for no rounding. */
  readonly round: number | null
}

export interface ResolvedBridgeRule {
  readonly topic: string
  readonly direction: 'in' | 'out' | 'both'
  readonly qos: 0 | 1 | 2
  readonly keepMs: number | null
}
