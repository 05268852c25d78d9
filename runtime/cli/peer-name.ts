import { MarramError } from '../base/errors.ts'
import type { MemberView } from '../ports/operations.ts'

/** The peer id of a member that is named by it, or by the name that only it has. Throws `not-found`. */
export function peerIdFrom(members: readonly MemberView[], text: string): string {
  const found = members.filter(({ peerId, name }) => peerId === text || name === text)
  const [only] = found
  if (found.length === 1 && only) return only.peerId
  const why = found.length === 0 ? 'there is no such member' : 'several members have this name, give the peer id'
  throw new MarramError('not-found', `Cannot find "${text}": ${why}`)
}
