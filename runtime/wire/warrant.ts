import { concat, utf8 } from '../base/bytes.ts'

/** What the mesh's root key signs so that an administrator may be removed; `origin` is that one's peer id. */
export function warrantBytes(meshId: Uint8Array, origin: string): Uint8Array {
  return concat(utf8('marram1/remove'), meshId, utf8(origin))
}
