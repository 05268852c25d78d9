import { LINK_TARGETS } from './link-targets.ts'
import { storeTargets } from './store-targets.ts'
import type { Target } from './target.ts'
import { TEXT_TARGETS } from './text-targets.ts'
import { WIRE_TARGETS } from './wire-targets.ts'

/** Every decoder of bytes or text that others, or a damaged disk, may have made. `dir`: a folder for files. */
export function targetsIn(dir: string): readonly Target[] {
  return [...WIRE_TARGETS, ...LINK_TARGETS, ...storeTargets(dir), ...TEXT_TARGETS]
}
