import { DEFAULT_PROFILE } from './generated/default.ts'
import type { FilledProfile } from './generated/filled.ts'
import type { DeviceProfile } from './generated/given.ts'
import { filledFrom } from './schema.ts'
import { PROFILE_SCHEMA } from './generated/schema.ts'
import type { Json } from './tree.ts'

/** The profile of a gateway that was given none: device-profiles/gateway.json. */
export { DEFAULT_PROFILE }
export type { DeviceProfile, FilledProfile }

/** The profile with every default of the schema filled in; as JSON, it is a valid profile that means the same. */
export function fillDefaults(profile: DeviceProfile): FilledProfile {
  return filledFrom(PROFILE_SCHEMA, profile as unknown as Json) as unknown as FilledProfile
}
