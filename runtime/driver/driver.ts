import { codeOf, MarramError, sentenceOf, type ErrorCode } from '../base/errors.ts'
import type { Document } from '../model/document.ts'
import type { Place, Scope } from '../model/interest.ts'
import type { Clock } from '../ports/clock.ts'
import type { LinkHandler, LinkPeer, Links } from '../ports/link.ts'
import type { Log } from '../ports/log.ts'
import type { Space, Store } from '../ports/store.ts'
import type { Confirmer, Writer, WriteOp, Written } from '../ports/writer.ts'
import { Engine, type EngineView, type FeedLag, type LinkView } from '../sync/engine.ts'
import { Confirmations } from './confirmations.ts'
import type { Told } from '../sync/timekeeping.ts'
import type { Authority, CollectionKeys, EngineEvent, EngineOptions, Examined, Input, Output } from '../sync/types.ts'

/** What a local write is answered through. */
interface Waiting {
  resolve(written: Written): void
  reject(error: MarramError): void
}

export interface DriverOptions {
  readonly engine: EngineOptions
  readonly store: Store
  readonly clock: Clock
  readonly authority: Authority
  readonly keys: CollectionKeys
  readonly sign: (message: Uint8Array) => Uint8Array
  readonly verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean
  /** Derives the documents of a place anew from their batches. */
  readonly examine: (place: Space) => Promise<Examined>
  readonly log: Log
  readonly onEvent: (name: EngineEvent, fields: { readonly [name: string]: unknown }) => void
}

const TIMER_MS_MAX = 60_000

/**
 * The loop between the engine and the world: inputs are gathered for one turn of the event loop, then outputs are done.
 * Holds the engine's only timer.
 */
export class Driver implements LinkHandler, Writer {
  readonly #confirmations: Confirmations
  readonly #options: DriverOptions
  readonly #engine: Engine<Waiting>
  #links: Links | null = null
  #timer: NodeJS.Timeout | null = null
  #isPumpPlanned = false
  #isClosed = false
  #commits = 0

  constructor(options: DriverOptions) {
    this.#options = options
    const { store, authority, keys, sign } = options
    this.#engine = new Engine(options.engine, {
      heads: () => store.heads(),
      batches: (feedKey, fromSeq, bytesMax) => store.batches(feedKey, fromSeq, bytesMax),
      getRecord: (key) => store.getRecord(key),
      scanRecords: (prefix) => store.scanRecords(prefix),
      head: (feedKey) => store.head(feedKey),
      document: (space, key) => soundOf(store, space, key),
      documentToWrite: (space, key) => store.getToWrite(space, key),
      cells: (space) => store.summary(space).digest,
      authority,
      keys,
      sign,
    })
    this.#confirmations = new Confirmations((feedKey) => this.#engine.heldBy(feedKey))
  }

  /** Links come after the driver, since their adapter needs it as its handler. */
  start(links: Links): void {
    this.#links = links
    this.#planPump()
  }

  /** What time it is for this gateway, and how far that is to be believed. */
  get time(): Told {
    return this.#engine.time(this.#now())
  }

  get view(): EngineView {
    return this.#engine.view
  }

  get links(): readonly LinkView[] {
    return this.#engine.links
  }

  /** Whether a member keeps what is written there, as far as it has said. */
  isKeptBy(peerId: string, place: Place): boolean {
    return this.#engine.isKeptBy(peerId, place)
  }

  /** See Engine. */
  scopeOf(peerId: string): Scope {
    return this.#engine.scopeOf(peerId)
  }

  isUp(peerId: string): boolean {
    return this.#engine.isUp(peerId)
  }

  lackingAt(peerId: string): readonly FeedLag[] {
    return this.#engine.lackingAt(peerId)
  }

  /** See Confirmations. */
  get hasRoomToWait(): boolean {
    return this.#confirmations.hasRoom
  }

  confirm: Confirmer['confirm'] = (written, count, timeoutMs, signal) =>
    this.#confirmations.wait(written, count, timeoutMs, signal)

  write(collection: string, partition: string, ops: readonly WriteOp[]): Promise<Written> {
    if (this.#isClosed) return Promise.reject(new MarramError('closed', 'Cannot write: the gateway is stopping'))
    return new Promise((resolve, reject) => {
      this.#handle({ type: 'write', write: { collection, partition, ops, token: { resolve, reject } } })
    })
  }

  up(link: number, peer: LinkPeer): void {
    this.#handle({ type: 'link-up', link, peerId: peer.peerId })
  }

  frame(link: number, bytes: Uint8Array): void {
    this.#handle({ type: 'frame', link, bytes })
  }

  down(link: number): void {
    this.#handle({ type: 'link-down', link })
  }

  /** Capabilities were learned. */
  authorityChanged(): void {
    this.#handle({ type: 'authority-changed' })
  }

  /** Documents were compared with their batches. */
  examined(examined: Examined): void {
    if (!this.#isClosed) this.#handle({ type: 'examined', ...examined })
  }

  /** A frame that is not the engine's own went over one of its links. */
  spent(bytes: number): void {
    if (!this.#isClosed) this.#handle({ type: 'spent', bytes })
  }

  /** Takes no more writes; resolves when what is on its way is on the disk. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#pump()
    this.#isClosed = true
    while (this.#commits > 0 || this.#engine.view.waitingWrites > 0) {
      await new Promise((resolve) => setImmediate(resolve))
      this.#pump()
    }
    if (this.#timer) clearTimeout(this.#timer)
    this.#confirmations.close()
  }

  #handle(input: Input<Waiting>): void {
    this.#engine.handle(this.#now(), input)
    this.#planPump()
  }

  #now(): { wallMs: number; trust: 0 | 1 | 2; monotonicMs: number } {
    const { clock } = this.#options
    return { wallMs: clock.wallMs(), trust: clock.trust(), monotonicMs: clock.monotonicMs() }
  }

  /** At the end of this turn, so that everything that arrives in it shares batches, commits and frames. */
  #planPump(): void {
    if (this.#isPumpPlanned) return
    this.#isPumpPlanned = true
    setImmediate(() => {
      this.#isPumpPlanned = false
      this.#pump()
    })
  }

  #pump(): void {
    for (;;) {
      const outputs = this.#drain()
      if (outputs.length === 0) break
      for (const output of outputs) this.#do(output)
    }
    this.#setTimer()
  }

  #drain(): Output<Waiting>[] {
    const outputs: Output<Waiting>[] = []
    for (let output = this.#engine.poll(); output; output = this.#engine.poll()) outputs.push(output)
    return outputs
  }

  #do(output: Output<Waiting>): void {
    switch (output.type) {
      case 'send':
        this.#links?.send(output.link, output.bytes)
        return
      case 'close':
        this.#links?.close(output.link, output.reason)
        return
      case 'verify':
        return this.#verify(output)
      case 'commit':
        return this.#commit(output)
      case 'written':
        output.tokens.forEach((token, i) => token.resolve(output.written[i] as Written))
        return
      case 'examine':
        return this.#examine(output)
      case 'confirmed':
        return this.#confirmations.confirmed(output.feedKeys)
      case 'write-failed':
        return this.#fail(output.tokens, output.code)
      case 'event':
        return this.#options.onEvent(output.name, output.fields)
    }
  }

  #verify({ ticket, feed, batch }: Extract<Output<Waiting>, { type: 'verify' }>): void {
    const isValid = this.#options.verify(feed.descriptor.publicKey, batch.signed, batch.signature)
    this.#engine.handle(this.#now(), { type: 'verified', ticket, isValid })
  }

  #commit({ ticket, batches, drops, records }: Extract<Output<Waiting>, { type: 'commit' }>): void {
    this.#commits += 1
    this.#options.store.append({ batches, records, ...(drops && { drops }) }).then(
      () => {
        this.#commits -= 1
        this.#handle({ type: 'committed', ticket })
      },
      (error: unknown) => {
        this.#commits -= 1
        this.#options.log.error('commit-failed', { code: codeOf(error), message: sentenceOf(error) })
        this.#handle({ type: 'commit-failed', ticket, code: codeOf(error) })
      },
    )
  }

  #examine({ collection, partition }: Extract<Output<Waiting>, { type: 'examine' }>): void {
    const { examine, log } = this.#options
    examine({ collection, partition }).then(
      (examined) => this.examined(examined),
      (error: unknown) => {
        log.warn('examination-failed', { collection, partition, message: sentenceOf(error) })
        this.examined({ collection, partition, documents: 0, damaged: [] })
      },
    )
  }

  #fail(tokens: readonly Waiting[], code: ErrorCode): void {
    const error = new MarramError(code, WRITE_FAILED[code] ?? `Cannot write: ${code}`)
    for (const token of tokens) token.reject(error)
  }

  #setTimer(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#isClosed) return
    const wait = Math.min(Math.max(0, this.#engine.deadline - this.#options.clock.monotonicMs()), TIMER_MS_MAX)
    // Alone it keeps no process alive: a gateway has its listeners.
    this.#timer = setTimeout(() => this.#handle({ type: 'time' }), wait).unref()
  }
}

/** A damaged document is being derived anew; until then it shows nothing. */
function soundOf(store: Store, space: Space, key: string): Document | undefined {
  try {
    return store.get(space, key)
  } catch (error) {
    if (codeOf(error) === 'storage-damaged') return undefined
    throw error
  }
}

const WRITE_FAILED: { readonly [code in ErrorCode]?: string } = {
  'storage-full': 'Cannot write: the disk is full, free space or raise storage.maxBytes',
  'storage-io': 'Cannot write: the disk returned an error, see the log',
  'not-permitted':
    'Cannot write: this gateway has no right to it now, an administrator may give it one with "marram grant"',
  'no-key':
    "Cannot write: the collection is encrypted and this gateway has no key for it now; an administrator's gateway gives one to each of its readers as soon as it hears of them",
  'storage-damaged': 'Cannot write: the document is damaged and is being derived anew, try again later',
  'too-large': 'Cannot write: it is over 48 KiB when encoded, larger things are to be kept as files',
  overloaded: 'Cannot write: too many writes are waiting for the disk, try again later',
  closed: 'Cannot write: the gateway is stopping',
}
