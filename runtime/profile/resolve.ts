import { assert } from '../base/errors.ts'
import type { Result } from '../base/result.ts'
import type { CellKind } from '../model/cells.ts'
import { parseAddress, parseHostPort } from './address.ts'
import { fillDefaults, type DeviceProfile, type FilledProfile } from './defaults.ts'
import { expandPartition } from './partition.ts'
import type {
  Credential,
  FieldMapping,
  FilledCollection,
  FilledSource,
  ResolvedCollection,
  ResolvedProfile,
  ResolvedSource,
} from './resolved.ts'
import { parseDuration, parseSize } from './units.ts'

/** `profile` must come from `parseProfile` or `checkProfile`: anything else is a bug. */
export function resolveProfile(profile: DeviceProfile): ResolvedProfile {
  const { id, revision, labels, node, storage, broker, mesh, interest, log, ...filled } = fillDefaults(profile)
  const { '*': others, ...named } = Object.fromEntries(
    Object.entries(filled.collections).map(([name, collection]) => [name, resolveCollection(collection, node.cell)]),
  )
  return {
    id,
    revision,
    labels: new Map(Object.entries(labels)),
    node: { name: node.name ?? null, cell: node.cell ?? null },
    storage: resolveStorage(storage),
    broker: resolveBroker(broker),
    mesh: resolveMesh(mesh),
    collections: new Map(Object.entries(named)),
    otherCollections: others ?? null,
    interest,
    sources: filled.sources.map(resolveSource),
    bridge: filled.bridge.map(({ keep, ...rule }) => ({ ...rule, keepMs: keep === undefined ? null : ms(keep) })),
    sync: resolveSync(filled.sync),
    http: { listen: valid(parseHostPort(filled.http.listen)) },
    log,
  }
}

/** How the profile keeps a collection, or null when it takes no such collection. */
export function collectionOf(profile: ResolvedProfile, name: string): ResolvedCollection | null {
  return profile.collections.get(name) ?? profile.otherCollections
}

function resolveStorage({ maxBytes, reserveFree, key, ...rest }: FilledProfile['storage']): ResolvedProfile['storage'] {
  const isEncrypted = rest.encryption !== 'none' && key !== undefined
  return {
    maxBytes: bytes(maxBytes),
    reserveFreeBytes: bytes(reserveFree),
    key: isEncrypted ? credentialOf(key) : null,
    ...rest,
  }
}

function resolveBroker({
  listen,
  users,
  anonymous,
  maxPacket,
  sessions,
}: FilledProfile['broker']): ResolvedProfile['broker'] {
  return {
    listen: listen.map((text) => valid(parseAddress(text))),
    users: credentialOf(users),
    anonymous,
    maxPacketBytes: bytes(maxPacket),
    sessions: {
      maxQueued: sessions.maxQueued,
      maxQueuedBytes: bytes(sessions.maxQueuedBytes),
      expiryMs: ms(sessions.expiry),
    },
  }
}

function credentialOf(text: string): Credential {
  return { from: text.startsWith('file:') ? 'file' : 'cred', name: text.slice(text.indexOf(':') + 1) }
}

function resolveMesh(mesh: FilledProfile['mesh']): ResolvedProfile['mesh'] {
  const { bootstrap, relays, relayLogins, silentAfter, ...rest } = mesh
  return {
    ...rest,
    bootstrap: bootstrap.map((text) => valid(parseAddress(text))),
    relays: relays.map((text) => valid(parseAddress(text))),
    relayLogins: credentialOf(relayLogins),
    silentAfterMs: ms(silentAfter),
  }
}

function resolveCollection(collection: FilledCollection, cell: string | undefined): ResolvedCollection {
  const { fields, retain, ...rest } = collection
  const partition = expandPartition(collection.partition, cell)
  assert(partition !== null, 'the profile was checked')
  return {
    ...rest,
    partition,
    fields: new Map(Object.entries(fields)),
    kinds: new Map(Object.entries(fields).flatMap(([path, { type }]) => (type ? [[path, kindOf(type)]] : []))),
    retain: {
      ageMs: retain?.age === undefined ? null : ms(retain.age),
      bytes: retain?.bytes === undefined ? null : bytes(retain.bytes),
    },
  }
}

function kindOf(type: NonNullable<FilledCollection['fields'][string]['type']>): CellKind {
  return type === 'counter' || type === 'set' || type === 'link' ? type : 'register'
}

function resolveSource({ preset, base, topic, key, fields, time, ...rest }: FilledSource): ResolvedSource {
  if (preset !== undefined) return { kind: 'preset', ...rest, preset, base: base ?? null }
  assert(topic !== undefined && key !== undefined, 'the profile was checked')
  const mappings = fields && new Map(Object.entries(fields).map(([field, mapping]) => [field, resolveMapping(mapping)]))
  return { kind: 'topic', ...rest, topic, key, fields: mappings ?? null, time: time ?? null }
}

function resolveMapping(mapping: NonNullable<FilledSource['fields']>[string]): FieldMapping {
  if (typeof mapping === 'string') return { from: mapping, map: null, scale: 1, offset: 0, round: null }
  const { from, map, scale, offset, round } = mapping
  return { from, map: map ? new Map(Object.entries(map)) : null, scale, offset, round: round ?? null }
}

function resolveSync({ batch, history, priority, budget }: FilledProfile['sync']): ResolvedProfile['sync'] {
  const { bytesPerSecond, perDay } = budget
  return {
    batch: { maxOps: batch.maxOps, maxDelayMs: ms(batch.maxDelay) },
    history: {
      minBytes: bytes(history.minSize),
      pruneGraceMs: ms(history.pruneGrace),
      tombstoneGraceMs: ms(history.tombstoneGrace),
    },
    priority: new Map(Object.entries(priority)),
    budget: {
      bytesPerSecond: bytesPerSecond === undefined ? null : bytes(bytesPerSecond),
      bytesPerDay: perDay === undefined ? null : bytes(perDay),
    },
  }
}

function ms(text: string): number {
  return valid(parseDuration(text))
}

function bytes(text: string): number {
  return valid(parseSize(text))
}

function valid<T>(result: Result<T>): T {
  assert(result.ok, 'the profile was checked')
  return result.value
}
