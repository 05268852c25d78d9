import { equal, hex } from '../base/bytes.ts'
import type { Batch } from '../model/batch.ts'
import { SELF_COLLECTION } from '../model/names.ts'
import { decodeProof, type ForkProof } from '../wire/proof.ts'
import type { Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import { FORK_PREFIX } from './forks.ts'
import { addInternalWrite } from './writing.ts'

/** What was told and isn't on the disk after so many milliseconds is told again; who may not write looks again as seldom. */
const TELL_MS = 10_000

/** A proof that stands in a document. */
interface Standing {
  readonly bytes: Uint8Array
  /** Null when it proves nothing. */
  readonly proof: ForkProof | null
}

/**
 * Proofs of forks that are known, of each feed the one that names the least sequence. It goes on counting here when whoever has
 * written it takes it back, and is then told on, so that it counts the same for those who come late or start again.
 */
export class Proofs {
  readonly #counted = new Map<string, { readonly seq: number; readonly bytes: Uint8Array }>()
  /** By document; and by feed, which documents tell of it, and from where on. */
  readonly #standing = new Map<string, Standing>()
  readonly #tellers = new Map<string, Map<string, number>>()

  /**
   * What a document holds; null when it holds nothing any more. The proof when it is new, 'withdrawn' when nobody tells any more what
   * counts, null when nothing has changed.
   */
  learn(
    meshId: Uint8Array,
    document: string,
    bytes: Uint8Array | null,
    isSigned: (publicKey: Uint8Array, batch: Batch) => boolean,
  ): ForkProof | 'withdrawn' | null {
    const before = this.#standing.get(document)
    if (before === undefined ? bytes === null : bytes !== null && equal(before.bytes, bytes)) return null
    const proof = bytes === null ? null : proofIn(meshId, bytes, isSigned)
    if (bytes === null) this.#standing.delete(document)
    else this.#standing.set(document, { bytes, proof })
    if (before?.proof) this.#tellers.get(before.proof.feed.key)?.delete(document)
    if (proof !== null && bytes !== null) {
      const tellers = this.#tellers.get(proof.feed.key) ?? new Map<string, number>()
      this.#tellers.set(proof.feed.key, tellers.set(document, proof.seq))
      if (proof.seq < this.#seqOf(proof.feed.key)) {
        this.#counted.set(proof.feed.key, { seq: proof.seq, bytes })
        return proof
      }
    }
    return before?.proof && this.untold(before.proof.feed.key) !== null ? 'withdrawn' : null
  }

  /** The proof that counts for the feed and that stands in no document any more; null when there is none. */
  untold(feedKey: string): Uint8Array | null {
    const counted = this.#counted.get(feedKey)
    if (counted === undefined) return null
    for (const seq of this.#tellers.get(feedKey)?.values() ?? []) if (seq <= counted.seq) return null
    return counted.bytes
  }

  #seqOf(feedKey: string): number {
    return this.#counted.get(feedKey)?.seq ?? Number.POSITIVE_INFINITY
  }
}

function proofIn(
  meshId: Uint8Array,
  bytes: Uint8Array,
  isSigned: (publicKey: Uint8Array, batch: Batch) => boolean,
): ForkProof | null {
  const decoded = decodeProof(meshId, bytes)
  if (!decoded.ok) return null
  const { feed, signed } = decoded.value
  return signed.every((batch) => isSigned(feed.descriptor.publicKey, batch)) ? decoded.value : null
}

/** A proof that nobody tells any more is told by us, but not by all at once: who hears of it need not tell it. */
export function tellProof<Token>(core: Core<Token>, state: FeedState): void {
  const proof = core.surroundings.authority.proofs.untold(state.feed.key)
  if (proof === null) {
    state.tellProofAt = null
    return
  }
  const { monotonicMs } = core.now
  const share = (core.options.publicKey[0] as number) / 256
  state.tellProofAt ??= monotonicMs + (share * core.history.beaconMs) / 60
  if (monotonicMs >= state.tellProofAt) {
    state.tellProofAt = monotonicMs + TELL_MS
    if (!core.isIncarnationLost && core.surroundings.authority.isMember())
      addInternalWrite(core, SELF_COLLECTION, core.options.peerId, [
        { kind: 'put', key: FORK_PREFIX + hex(state.feed.id), fields: { proof } },
      ])
  }
  core.sealsAt = Math.min(core.sealsAt, state.tellProofAt)
}
