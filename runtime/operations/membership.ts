import { timingSafeEqual } from 'node:crypto'
import { equal, fromHex, hex } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import { grantsOf, roleNames } from '../access/roles.ts'
import { peerIdOf, randomBytes } from '../crypto/identity.ts'
import { sha256 } from '../crypto/hash.ts'
import type { Signer } from '../crypto/signature.ts'
import { RIGHT_ADMIN, type Capability } from '../model/capability.ts'
import { fieldsOf } from '../model/fields.ts'
import { MESH_COLLECTION } from '../model/names.ts'
import { HLC_MAX, type Hlc } from '../model/stamp.ts'
import type { Fields } from '../model/value.ts'
import type { JoinAnswer, JoinRequest } from '../ports/enroller.ts'
import type { GrantOptions, InviteOptions } from '../ports/operations.ts'
import type { Documents, Space } from '../ports/store.ts'
import type { Writer, WriteOp } from '../ports/writer.ts'
import { encodeCapability } from '../wire/capability.ts'
import { encodeInvite } from '../wire/invite.ts'
import { grantedOf, untilOf } from './granting.ts'
import { entriesOf } from './reading.ts'

/**
 * Who belongs, as documents of the members' collection (protocol D4, D6): `member/<peer id>` holds what proves a member,
 * `invite/<id>` what an invite allows. They travel and merge like all documents; only administrators' feeds may hold them.
 */

export interface MembershipSurroundings {
  readonly store: Documents
  readonly writer: Writer
  readonly meshId: Uint8Array
  readonly meshName: string
  readonly rootPublicKey: Uint8Array
  /** What proves that this gateway is an administrator's, leaf first; null when it is none. */
  readonly administratorChain: () => readonly Uint8Array[] | null
  readonly publicKey: Uint8Array
  readonly sign: (message: Uint8Array) => Uint8Array
  /** The mesh's root key, which alone appoints administrators; null where this gateway doesn't hold it. */
  readonly root: () => Signer | null
  readonly wallMs: () => number
  /** The stamp of now: a new member's batches begin after it. */
  readonly hlc: () => Hlc
  /** Where newcomers and members reach this gateway, as `mqtt://host:port`. */
  readonly addresses: () => readonly string[]
  /** A capability of the member; null when there is none, or it is being removed. */
  readonly member: (peerId: string) => Capability | null
  /** All that anybody was ever given. */
  readonly capabilities: () => Iterable<Capability>
  /** To the administrators, by a gateway that is none's. */
  readonly passOn: (request: JoinRequest) => Promise<void>
  /** Where administrators are reached, as far as is known. */
  readonly administrators: () => readonly string[]
}

/** A capability to be signed. */
type Given = Omit<Capability, 'issuer' | 'id'>

/** A key that takes the place of another. */
export interface Successor {
  readonly publicKey: Uint8Array
  readonly linkKey: Uint8Array
  /** The peer id of the other. */
  readonly succeeds: string
}

/** Of documents that hold a capability which an administrator gave a member later. */
export const GRANT_PREFIX = 'grant/'

export const MEMBER_PREFIX = 'member/'

const SPACE: Space = { collection: MESH_COLLECTION, partition: '' }
const INVITE_PREFIX = 'invite/'
/** As in rotations.ts; of one member so many are looked at. */
const INVITE_MS = 3_600_000
/** A hundred years: what no date can be made of any more is far beyond. */
const EXPIRES_MS_MAX = 36_500 * 86_400_000
const SECRET_BYTES = 16
const INVITE_ID_BYTES = 8

export class Membership {
  readonly #with: MembershipSurroundings
  /** Admissions run one after the other, so that an invite's uses are counted right. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(surroundings: MembershipSurroundings) {
    this.#with = surroundings
  }

  /** True when this gateway may admit others. */
  get isAdmin(): boolean {
    return this.#with.administratorChain() !== null
  }

  /** Chains of every member in the store, to be verified by the caller. */
  *chains(): Generator<readonly Uint8Array[]> {
    for (const { document } of entriesOf(this.#with.store, SPACE, MEMBER_PREFIX)) {
      const chain = chainOf(fieldsOf(document))
      if (chain) yield chain
    }
  }

  /** Stores what the founder's membership rests on, so that it reaches every member. */
  async publishOwn(name: string): Promise<void> {
    const key = MEMBER_PREFIX + peerIdOf(this.#with.publicKey)
    const chain = this.#with.administratorChain()
    if (chain === null || this.#with.store.get(SPACE, key)) return
    await this.#put(key, { chain, name })
  }

  async invite(options: InviteOptions = {}): Promise<{ token: string; expires: string }> {
    if (!this.isAdmin)
      throw new MarramError('not-permitted', 'Cannot invite: this gateway is no administrator of the mesh')
    const role = options.role ?? 'gateway'
    if (!grantsOf(role))
      throw new MarramError('bad-request', `Cannot invite as "${role}": it must be one of ${roleNames().join(', ')}`)
    if (role === 'admin' && !this.#with.root())
      throw new MarramError(
        'not-permitted',
        "Cannot invite an administrator: only a gateway that holds the mesh's root key may",
      )
    const uses = options.uses ?? 1
    if (!Number.isInteger(uses) || uses < 1 || uses > 1_000)
      throw new MarramError('bad-request', `Cannot invite ${uses} times: it must be 1 to 1000`)
    const { expiresMs = INVITE_MS } = options
    if (expiresMs <= 0) throw new MarramError('bad-request', 'Cannot invite for no time: "expires" must be over 0')
    if (!(expiresMs <= EXPIRES_MS_MAX))
      throw new MarramError('bad-request', `Cannot invite for ${expiresMs} ms: it must be at most 36500 days`)
    const nowMs = this.#with.wallMs()
    const expiry = nowMs + expiresMs
    const until = untilOf('Cannot invite until', options.until, nowMs)
    const inviteId = randomBytes(INVITE_ID_BYTES)
    const secret = randomBytes(SECRET_BYTES)
    await this.#put(INVITE_PREFIX + hex(inviteId), { hash: sha256(secret), role, uses, expiry, until })
    const { meshId, meshName, rootPublicKey } = this.#with
    const token = encodeInvite({
      meshId,
      meshName,
      rootPublicKey,
      addresses: this.#with.addresses(),
      inviteId,
      secret,
      expiry,
    })
    return { token, expires: new Date(expiry).toISOString() }
  }

  /**
   * Nobody is admitted with the invite `id`, in hexadecimal, any more; resolves with the peer ids of those that were. Throws
   * `not-permitted`, `not-found`.
   */
  withdraw(id: string): Promise<{ readonly joined: readonly string[] }> {
    return this.#inTurn(() => this.#withdraw(id))
  }

  async #withdraw(id: string): Promise<{ readonly joined: readonly string[] }> {
    if (!this.isAdmin)
      throw new MarramError('not-permitted', 'Cannot revoke an invite: this gateway is no administrator of the mesh')
    const key = INVITE_PREFIX + id
    if (this.#fields(key)?.['hash'] === undefined)
      throw new MarramError('not-found', `Cannot revoke the invite ${id}: there is none such, or it has been revoked`)
    await this.#with.writer.write(MESH_COLLECTION, '', [{ kind: 'delete', key }])
    return { joined: this.#joinedWith(fromHex(id) ?? new Uint8Array(0)) }
  }

  /** Another capability for the member's key: what it had stays, for batches were signed under it. */
  async grant(peerId: string, options: GrantOptions): Promise<void> {
    const { member, root, wallMs, hlc } = this.#with
    if (!this.isAdmin)
      throw new MarramError(
        'not-permitted',
        `Cannot grant "${peerId}" anything: this gateway is no administrator of the mesh`,
      )
    const [heir] = this.successors().get(peerId) ?? []
    if (heir !== undefined)
      throw new MarramError(
        'bad-request',
        `Cannot grant "${peerId}" anything: its keys were replaced, it is "${heir}" now`,
      )
    const subject = member(peerId)
    if (!subject) throw new MarramError('not-found', `Cannot grant "${peerId}" anything: there is no such member`)
    const granted = grantedOf(options, hlc(), wallMs())
    const byRoot = options.role === 'admin' ? root() : null
    if (options.role === 'admin' && !byRoot)
      throw new MarramError(
        'not-permitted',
        "Cannot appoint an administrator: only a gateway that holds the mesh's root key may",
      )
    const { subject: publicKey, linkKey, name } = subject
    await this.#put(...this.#granting({ subject: publicKey, linkKey, name, invite: null, ...granted }, byRoot))
  }

  /**
   * Gives a successor all that the member whose place it takes may do from now on, in one write. Throws `not-permitted` where that
   * takes the mesh's root key, and it is not here.
   */
  async succeed(capabilities: readonly Capability[], { publicKey, linkKey, succeeds }: Successor): Promise<void> {
    const { hlc, root } = this.#with
    const now = hlc()
    const ops: WriteOp[] = []
    // What begins first is what it joins by: nothing of it waits for a right that is still to come.
    const valid = capabilities.filter(({ expires }) => expires > now).sort((a, b) => a.notBefore - b.notBefore)
    for (const old of valid) {
      const byRoot = isAdministrators(old) ? root() : null
      if (isAdministrators(old) && byRoot === null)
        throw new MarramError(
          'not-permitted',
          `Cannot replace the keys of "${succeeds}": it is an administrator, which takes the mesh's root key`,
        )
      const notBefore = Math.max(old.notBefore, now)
      const given = { ...old, subject: publicKey, linkKey, notBefore, invite: null }
      const [key, fields] = this.#granting(given, byRoot)
      const isFirst = ops.length === 0
      ops.push({
        kind: 'put',
        key: isFirst ? MEMBER_PREFIX + peerIdOf(publicKey) : key,
        fields: { ...fields, succeeds },
      })
    }
    if (ops.length > 0) await this.#with.writer.write(MESH_COLLECTION, '', ops)
  }

  /** By peer id, the members that took its place. */
  successors(): ReadonlyMap<string, readonly string[]> {
    const found = new Map<string, string[]>()
    for (const [old, heir] of this.successions()) found.set(old, [...(found.get(old) ?? []), heir])
    return found
  }

  /** The peer id of one whose place was taken, and of the member that took it: of two for one, administrators admitted each one. */
  successions(): (readonly [old: string, heir: string])[] {
    const found: (readonly [string, string])[] = []
    for (const { key, document } of entriesOf(this.#with.store, SPACE, MEMBER_PREFIX)) {
      const { succeeds } = fieldsOf(document)
      if (typeof succeeds === 'string') found.push([succeeds, key.slice(MEMBER_PREFIX.length)])
    }
    return found
  }

  /** The member whose place it took, or null. */
  predecessorOf(peerId: string): string | null {
    const succeeds = this.#fields(MEMBER_PREFIX + peerId)?.['succeeds']
    return typeof succeeds === 'string' ? succeeds : null
  }

  /** What proves the membership of a key, leaf first; null when it is none's. */
  chainOf(publicKey: Uint8Array): readonly Uint8Array[] | null {
    return chainOf(this.#fields(MEMBER_PREFIX + peerIdOf(publicKey)) ?? {})
  }

  /**
   * Gives members again, from now on, all that this gateway gave them from a time after `latest`: its clock was ahead when it admitted
   * them, and nobody would take what they write. Not to be called before the clock is right again.
   */
  async grantAnew(latest: Hlc): Promise<void> {
    const { capabilities, publicKey, rootPublicKey, member, hlc, root } = this.#with
    if (!this.isAdmin) return
    const begun = new Set<string>()
    const late: Capability[] = []
    for (const capability of capabilities()) {
      if (capability.notBefore <= latest) begun.add(peerIdOf(capability.subject))
      else if (equal(capability.issuer, publicKey) || equal(capability.issuer, rootPublicKey)) late.push(capability)
    }
    for (const capability of late) {
      const peerId = peerIdOf(capability.subject)
      const byRoot = equal(capability.issuer, rootPublicKey) ? root() : null
      if (begun.has(peerId) || !member(peerId) || (isAdministrators(capability) && byRoot === null)) continue
      await this.#put(...this.#granting({ ...capability, notBefore: hlc() }, byRoot))
    }
  }

  /**
   * Admits the owner of a key that knows an invite's secret. Resolves when the new capability is on the disk; the same
   * key gets the same capability again.
   */
  admit(request: JoinRequest): Promise<JoinAnswer> {
    return this.#inTurn(() => this.#admit(request))
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(act)
    this.#turn = done.catch(() => {})
    return done
  }

  async #admit(request: JoinRequest): Promise<JoinAnswer> {
    const elsewhere: JoinAnswer = { refusal: 'cannot-enrol', addresses: this.#with.administrators() }
    const invite = this.#fields(INVITE_PREFIX + hex(request.inviteId))
    // Another administrator's may not have come here yet; of one that was taken back the document stays, without a field.
    if (!invite) return elsewhere
    const hash = invite['hash']
    if (!(hash instanceof Uint8Array) || !timingSafeEqual(hash, sha256(request.secret))) return { refusal: 'unknown' }
    const key = MEMBER_PREFIX + peerIdOf(request.publicKey)
    const known = chainOf(this.#fields(key) ?? {})
    if (known) return { chain: known, addresses: this.#with.addresses() }
    const until = typeof invite['until'] === 'number' ? invite['until'] : HLC_MAX
    if (this.#with.wallMs() >= Number(invite['expiry']) || until <= this.#with.hlc()) return { refusal: 'expired' }
    if (this.#joinedWith(request.inviteId).length >= Number(invite['uses'])) return { refusal: 'used' }
    if (!this.isAdmin) {
      await this.#with.passOn(request)
      return elsewhere
    }
    const role = typeof invite['role'] === 'string' ? invite['role'] : ''
    const root = role === 'admin' ? this.#with.root() : null
    if (role === 'admin' && !root) return elsewhere
    const { chain } = this.#signed(this.#admission(request, role, until), root)
    await this.#put(key, { chain, name: request.name, invite: request.inviteId })
    return { chain, addresses: this.#with.addresses() }
  }

  #admission({ publicKey, linkKey, name, inviteId }: JoinRequest, role: string, expires: Hlc): Given {
    const grants = grantsOf(role) ?? []
    const notBefore = this.#with.hlc()
    return { subject: publicKey, linkKey, notBefore, expires, grants, roles: [role], name, invite: inviteId }
  }

  /** A capability by the root where it is given, else by this administrator, with what proves it. */
  #signed(given: Given, byRoot: Signer | null): { readonly id: Uint8Array; readonly chain: readonly Uint8Array[] } {
    const { meshId, administratorChain } = this.#with
    const issuer = byRoot ?? this.#with
    const id = randomBytes(16)
    const capability = { ...given, issuer: issuer.publicKey, id }
    const bytes = encodeCapability(capability, meshId, (message) => issuer.sign(message))
    return { id, chain: byRoot ? [bytes] : [bytes, ...(administratorChain() ?? [])] }
  }

  /** The document of one that is given later than the first. */
  #granting(given: Given, byRoot: Signer | null): [key: string, fields: Fields] {
    const { id, chain } = this.#signed(given, byRoot)
    return [`${GRANT_PREFIX}${peerIdOf(given.subject)}/${hex(id)}`, { chain, name: given.name }]
  }

  /** Peer ids. */
  #joinedWith(inviteId: Uint8Array): string[] {
    const joined: string[] = []
    for (const { key, document } of entriesOf(this.#with.store, SPACE, MEMBER_PREFIX)) {
      const { invite } = fieldsOf(document)
      if (invite instanceof Uint8Array && equal(invite, inviteId)) joined.push(key.slice(MEMBER_PREFIX.length))
    }
    return joined
  }

  #fields(key: string): Fields | null {
    const document = this.#with.store.get(SPACE, key)
    return document ? fieldsOf(document) : null
  }

  async #put(key: string, fields: Fields): Promise<void> {
    await this.#with.writer.write(MESH_COLLECTION, '', [{ kind: 'put', key, fields }])
  }
}

function isAdministrators({ grants }: Capability): boolean {
  return grants.some(({ rights }) => (rights & RIGHT_ADMIN) !== 0)
}

function chainOf(fields: Fields): readonly Uint8Array[] | null {
  const chain = fields['chain']
  if (!Array.isArray(chain) || chain.length === 0) return null
  return chain.every((link) => link instanceof Uint8Array) ? (chain as Uint8Array[]) : null
}
