import { equal, latin1 } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import {
  ANSWER_PREFIX,
  answerOf,
  CLOSE_PREFIX,
  closingOf,
  fieldsOfAnswer,
  fieldsOfClosing,
  fieldsOfRemoval,
  keyOfClosing,
  removalOf,
  SEAL_PREFIX,
  sealsAbove,
  type Closing,
  type Holding,
  type RemovalReason,
} from '../access/removals.ts'
import type { Removal } from '../access/seals.ts'
import type { Feed } from '../model/batch.ts'
import { fieldsOf } from '../model/fields.ts'
import { MESH_COLLECTION, SELF_COLLECTION } from '../model/names.ts'
import type { Hlc } from '../model/stamp.ts'
import type { Fields } from '../model/value.ts'
import type { Documents, Log, Space } from '../ports/store.ts'
import type { Writer } from '../ports/writer.ts'
import { positionOfBatch } from '../wire/batch.ts'
import { entriesOf } from './reading.ts'

/**
 * Sees removals through (protocol D5): as a member answers what it holds of a closed one; as the administrator's gateway
 * that was asked for it waits for the answers, fetches up to the most of them, and seals. All of it stands in documents,
 * so a restart, or an hour without power, costs nothing but time.
 */
export interface RemovalSurroundings {
  readonly store: Documents & Log
  readonly writer: Writer
  readonly peerId: string
  /** Peer ids of all members, removed ones too. */
  readonly members: () => Iterable<string>
  readonly isRemoved: (origin: string) => boolean
  readonly isAdministrator: (origin: string) => boolean
  /** Whether the rights accept that the member is removed: an administrator by the mesh's root alone. */
  readonly mayRemove: (origin: string, warrant: Uint8Array | null) => boolean
  /** Whether the mesh takes no links from the member any more here. */
  readonly isClosed: (origin: string) => boolean
  readonly isSealed: (feed: Feed) => boolean
  /** Whether this gateway keeps the feed, and whether it keeps everything. */
  readonly keeps: (feed: Feed) => boolean
  readonly keepsAll: () => boolean
  /** By the mesh's root key; null where that isn't. */
  readonly warrant: (origin: string) => Uint8Array | null
}

/** How far a removal is. */
export interface RemovalState {
  readonly closing: Closing
  /** Who has not said yet what it holds: it may not have heard of the removal. */
  readonly silent: readonly string[]
  readonly isSealed: boolean
}

export interface RemovalRequest {
  readonly reason: RemovalReason
  /** What was stamped later is void; of a retired one nothing that anybody holds is. */
  readonly since: Hlc | null
  readonly isHasty: boolean
}

const MESH: Space = { collection: MESH_COLLECTION, partition: '' }
/** Like `held/` of runtime/sync/statements.ts, by which a removed member is still bound. */
const HELD_PREFIX = 'held/'

/** Whether a document of the members' collection speaks of removals. */
export function isRemoval(key: string): boolean {
  return key.startsWith(CLOSE_PREFIX) || key.startsWith(SEAL_PREFIX)
}

export class Removals {
  readonly #with: RemovalSurroundings

  constructor(surroundings: RemovalSurroundings) {
    this.#with = surroundings
  }

  /** Throws `not-found`, `not-permitted`, `bad-request`. Resolves when the mesh is told; `step` does the rest. */
  async remove(origin: string, { reason, since, isHasty }: RemovalRequest): Promise<void> {
    const { peerId, members, isAdministrator } = this.#with
    if (!isAdministrator(peerId))
      throw new MarramError(
        'not-permitted',
        `Cannot ${reason} "${origin}": this gateway is no administrator of the mesh`,
      )
    if (origin === peerId)
      throw new MarramError(
        'bad-request',
        `Cannot ${reason} "${origin}": it is this gateway, ask another administrator's`,
      )
    if (![...members()].includes(origin))
      throw new MarramError('not-found', `Cannot ${reason} "${origin}": there is no such member`)
    if (since !== null && !this.#with.keepsAll())
      throw new MarramError(
        'not-kept',
        `Cannot ${reason} "${origin}" since a time: this gateway keeps a part of the mesh and knows of no other what was written when, ask an administrator's that keeps "*"`,
      )
    const warrant = isAdministrator(origin) ? this.#with.warrant(origin) : null
    if (isAdministrator(origin) && warrant === null)
      throw new MarramError(
        'not-permitted',
        `Cannot ${reason} "${origin}": it is an administrator, which only a gateway that holds the mesh's root key may remove`,
      )
    const closing: Closing = { origin, reason, since, by: peerId, isHasty, warrant }
    await this.#with.writer.write(MESH_COLLECTION, '', [
      { kind: 'put', key: keyOfClosing(closing), fields: fieldsOfClosing(closing) },
    ])
  }

  /** Every removal that was asked for and isn't void. */
  states(): RemovalState[] {
    return this.closings().map((closing) => this.#stateOf(closing))
  }

  /** One for each administrator that asked for it. */
  closings(): Closing[] {
    const { mayRemove } = this.#with
    return this.#read(CLOSE_PREFIX, closingOf).filter(({ origin, warrant }) => mayRemove(origin, warrant))
  }

  removals(): { readonly removal: Removal; readonly warrant: Uint8Array | null }[] {
    return this.#read(SEAL_PREFIX, removalOf)
  }

  /** Answers and seals what can be. True while something is to be done. */
  async step(): Promise<boolean> {
    const { peerId, isAdministrator } = this.#with
    let isBusy = false
    for (const closing of this.closings()) {
      await this.#answer(closing.origin)
      if (closing.by !== peerId || !isAdministrator(peerId)) continue
      const isDone = await this.#seal(closing)
      isBusy ||= !isDone
    }
    return isBusy
  }

  #stateOf(closing: Closing): RemovalState {
    const answered = this.#answers(closing.origin)
    const asked = [...this.#with.members()].filter((member) => {
      return member !== closing.origin && (!this.#with.isRemoved(member) || answered.has(member))
    })
    const silent = asked.filter((member) => !answered.has(member)).sort()
    return { closing, silent, isSealed: this.#own(closing) !== null }
  }

  /** What this administrator has sealed for the closing; null when it has not, or the closing asks for more since. */
  #own({ origin, by, reason }: Closing): Removal | null {
    const document = this.#with.store.get(MESH, `${SEAL_PREFIX}${origin}/${by}`)
    const removal = document ? (removalOf(`${SEAL_PREFIX}${origin}/${by}`, fieldsOf(document))?.removal ?? null) : null
    return removal?.reason === reason ? removal : null
  }

  /** What is held is said once nothing more of it is taken: never again, for what was said stands. */
  async #answer(origin: string): Promise<void> {
    const { peerId, store, writer, isClosed } = this.#with
    const self: Space = { collection: SELF_COLLECTION, partition: peerId }
    if (origin === peerId || !isClosed(origin) || store.get(self, ANSWER_PREFIX + origin)) return
    const fields = fieldsOfAnswer(this.#holdings(origin))
    await writer.write(SELF_COLLECTION, peerId, [{ kind: 'put', key: ANSWER_PREFIX + origin, fields }])
  }

  #holdings(origin: string): Holding[] {
    const holdings: Holding[] = []
    for (const { feed, seq, hash } of this.#with.store.heads()) {
      if (feed.origin === origin && seq > 0 && this.#with.keeps(feed))
        holdings.push({ feedId: feed.id, seq, hash8: hash.slice(0, 8) })
    }
    return holdings
  }

  /** True when it is done. */
  async #seal(closing: Closing): Promise<boolean> {
    const { origin, reason, since, isHasty, warrant, by } = closing
    const own = this.#own(closing)
    if (own !== null && !this.#isEarlier(own, closing)) return true
    const { silent } = this.#stateOf(closing)
    if (silent.length > 0 && !isHasty) return false
    const answers = [...this.#answers(origin).values(), this.#holdings(origin)]
    const most = sealsAbove(answers)
    // A lying answer names what nobody has: the operator seals without waiting.
    if (!isHasty && !this.#holdsUpTo(most)) return false
    const seals = since === null ? most : this.#sealsSince(most, since)
    for (const [key, seq] of own?.seals ?? []) seals.set(key, Math.min(seq, seals.get(key) ?? seq))
    const removal: Removal = { origin, reason, seals, bound: this.#bound(origin) }
    await this.#with.writer.write(MESH_COLLECTION, '', [
      { kind: 'put', key: `${SEAL_PREFIX}${origin}/${by}`, fields: fieldsOfRemoval(removal, warrant) },
    ])
    return true
  }

  /** The operator names an earlier time than before. */
  #isEarlier(own: Removal, { since }: Closing): boolean {
    if (since === null) return false
    return [...this.#sealsSince(new Map(own.seals), since)].some(([key, seq]) => seq < (own.seals.get(key) ?? 0))
  }

  /** Of what is not kept here it can't know more than the answers say. */
  #holdsUpTo(most: ReadonlyMap<string, number>): boolean {
    const { store, keeps, keepsAll } = this.#with
    return [...most].every(([key, seq]) => {
      const head = store.head(key)
      const isKept = head === undefined ? keepsAll() : keeps(head.feed)
      return !isKept || (head?.seq ?? 0) >= seq - 1
    })
  }

  /** The first batch stamped after `since`, where that is before what the answers say. */
  #sealsSince(most: Map<string, number>, since: Hlc): Map<string, number> {
    for (const [key, seq] of most) most.set(key, Math.min(seq, this.#firstAfter(key, since)))
    return most
  }

  #firstAfter(feedKey: string, since: Hlc): number {
    const { store } = this.#with
    const head = store.head(feedKey)
    if (!head || head.hlc <= since) return Number.MAX_SAFE_INTEGER
    let [low, high] = [0, head.seq]
    while (high - low > 1) {
      const middle = (low + high) >> 1
      const [bytes] = store.batches(feedKey, middle, 0)
      const found = bytes === undefined ? null : positionOfBatch(bytes)
      if (found !== null && found.hlc <= since) low = Math.max(middle, found.seq)
      else high = middle
    }
    return high
  }

  /** Feeds of which the one to be removed has acknowledged that they are sealed: there its word goes on counting. */
  #bound(origin: string): Set<string> {
    const bound = new Set<string>()
    const self: Space = { collection: SELF_COLLECTION, partition: origin }
    for (const { key } of entriesOf(this.#with.store, self, HELD_PREFIX)) {
      const id = Buffer.from(key.slice(HELD_PREFIX.length), 'hex')
      const head = this.#with.store.head(latin1(id))
      if (head && equal(head.feed.id, id) && this.#with.isSealed(head.feed)) bound.add(head.feed.key)
    }
    return bound
  }

  #answers(origin: string): Map<string, readonly Holding[]> {
    const { store, members } = this.#with
    const answers = new Map<string, readonly Holding[]>()
    for (const member of members()) {
      const document = store.get({ collection: SELF_COLLECTION, partition: member }, ANSWER_PREFIX + origin)
      const answer = document ? answerOf(fieldsOf(document)) : null
      if (answer !== null) answers.set(member, answer)
    }
    return answers
  }

  #read<T>(prefix: string, read: (key: string, fields: Fields) => T | null): T[] {
    const found: T[] = []
    for (const { key, document } of entriesOf(this.#with.store, MESH, prefix)) {
      const item = read(key, fieldsOf(document))
      if (item !== null) found.push(item)
    }
    return found
  }
}
