import { RIGHT_ADMIN, RIGHT_DELETE, RIGHT_READ, RIGHT_RELAY, RIGHT_WRITE, type Grant } from '../model/capability.ts'
import { MESH_COLLECTION } from '../model/names.ts'

const ALL_DATA = RIGHT_READ | RIGHT_WRITE | RIGHT_DELETE | RIGHT_RELAY
const MEMBERS_READ: Grant = { pattern: MESH_COLLECTION, rights: RIGHT_READ | RIGHT_RELAY }

const MEMBER: readonly Grant[] = [{ pattern: '*', rights: ALL_DATA }, MEMBERS_READ]

/** What a role stands for when a capability is issued; afterwards only its grants count. */
const GRANTS_BY_ROLE: { readonly [role: string]: readonly Grant[] } = {
  admin: [
    { pattern: '*', rights: ALL_DATA },
    { pattern: MESH_COLLECTION, rights: ALL_DATA | RIGHT_ADMIN },
  ],
  gateway: MEMBER,
  bridge: MEMBER,
  super: MEMBER,
  sensor: [{ pattern: '*', rights: RIGHT_WRITE }, MEMBERS_READ],
  relay: [{ pattern: '*', rights: RIGHT_RELAY }, MEMBERS_READ],
  viewer: [{ pattern: '*', rights: RIGHT_READ }, MEMBERS_READ],
}

/** The grants of a role, or null when there is no such role. */
export function grantsOf(role: string): readonly Grant[] | null {
  return GRANTS_BY_ROLE[role] ?? null
}

export function roleNames(): readonly string[] {
  return Object.keys(GRANTS_BY_ROLE)
}
