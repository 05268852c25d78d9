import { nameOf, type ProfileError } from './error.ts'
import type { ObjectNode } from './tree.ts'

/** Lifts a profile by one version. It moves parts of the tree, so errors still name the lines the owner wrote. */
export type Migration = (profile: ObjectNode) => ObjectNode

/**
 * `MIGRATIONS[i]` lifts version i + 1 to version i + 2. There is one version yet; the next one adds its migration here and
 * a profile of the old version to test/profile/versions/.
 */
const MIGRATIONS: readonly Migration[] = []

export interface Migrated {
  readonly root: ObjectNode
  readonly error: ProfileError | null
}

/**
 * The profile in the newest version. One without `schemaVersion` counts as version 1, for good. A value that is not a
 * version is left to the schema's check; a version that this build doesn't know yet is an error.
 */
export function migrate(root: ObjectNode, migrations: readonly Migration[] = MIGRATIONS): Migrated {
  const newest = migrations.length + 1
  const given = root.members.get('schemaVersion')?.node
  const version = given?.kind === 'scalar' ? given.value : 1
  if (typeof version !== 'number' || !Number.isSafeInteger(version) || version < 1) return { root, error: null }
  if (version > newest) return { root, error: tooNew(root, version, newest) }
  const lifted = migrations.slice(version - 1).reduce((profile, migration) => migration(profile), root)
  return { root: version === newest ? root : withVersion(lifted, newest), error: null }
}

function withVersion(root: ObjectNode, version: number): ObjectNode {
  const before = root.members.get('schemaVersion')
  const at = before?.node.at ?? root.at
  const member = { keyAt: before?.keyAt ?? root.at, node: { kind: 'scalar', at, value: version } } as const
  return { ...root, members: new Map([...root.members, ['schemaVersion', member]]) }
}

function tooNew(root: ObjectNode, version: number, newest: number): ProfileError {
  const at = root.members.get('schemaVersion')?.node.at ?? root.at
  const is = `it is newer than this build knows, it must be at most ${newest}, or Marram must be updated`
  const message = `Cannot use ${version} for "${nameOf(['schemaVersion'])}": ${is}`
  const allowed = Array.from({ length: newest }, (_, i) => String(i + 1))
  return { ...at, pointer: '/schemaVersion', message, found: String(version), allowed, nearest: null }
}
