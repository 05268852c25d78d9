import { GATEWAY_LIMITS } from '../base/limits.ts'
import { MarramError } from '../base/errors.ts'
import { isLive, type Document } from '../model/document.ts'
import { fieldsOf, type FieldKinds } from '../model/fields.ts'
import type { WatchEvent, WatchOptions } from '../ports/operations.ts'
import type { Documents, Space } from '../ports/store.ts'
import { viewOfRow } from './rows.ts'
import { checkCollection, entriesOf, filterOf, spacesOf, type Filter } from './reading.ts'

/**
 * Live queries: what matches now, then every change of what matches. A slow reader costs no memory: changes are kept as
 * keys, a document that changes often is told once with its latest state, and when too many keys wait, everything that
 * changed since the last cursor is read again. So events may be told twice after a resume, and are never missed.
 */

export interface WatchedStore {
  readonly store: Documents
  /** The store's identity in hexadecimal: cursors of another one begin from the start. */
  readonly instance: string
  readonly kinds: FieldKinds
  /** Rows only come: each is told once, as `enter`, and none leaves. */
  readonly isSeries: boolean
  readonly isEncrypted: boolean
  keeps(space: Space): boolean
  /** The store's number of its last batch. */
  lastLsn(): number
  readonly watching: Watchers
}

/** Those that watch now, over all collections. */
export class Watchers {
  readonly #all = new Set<Watcher>()
  #areOver = false

  /** The gateway stops: nothing more will come. */
  get areOver(): boolean {
    return this.#areOver
  }

  get count(): number {
    return this.#all.size
  }

  add(watcher: Watcher): void {
    this.#all.add(watcher)
  }

  delete(watcher: Watcher): void {
    this.#all.delete(watcher)
  }

  /** Each ends when it has been told what it is being told. */
  end(): void {
    this.#areOver = true
    for (const watcher of this.#all) watcher.rouse()
  }
}

/** Throws `bad-request` and `overloaded` at once, not when the first event is pulled. */
export function watchDocuments(
  watched: WatchedStore,
  collection: string,
  options: WatchOptions = {},
): AsyncGenerator<WatchEvent> {
  checkCollection(collection)
  filterOf(options.where)
  lsnOf(options.since, watched)
  checkRoom(watched.watching)
  return watch(watched, collection, options)
}

function checkRoom({ count }: Watchers): void {
  if (count < GATEWAY_LIMITS.watchersMax) return
  const sentence = `Cannot watch: ${count} others do already, end one of them or try again later`
  throw new MarramError('overloaded', sentence)
}

async function* watch(watched: WatchedStore, collection: string, options: WatchOptions): AsyncGenerator<WatchEvent> {
  // It may have been asked for long before it begins.
  checkRoom(watched.watching)
  const watcher = new Watcher(watched, collection, options)
  watched.watching.add(watcher)
  try {
    yield* watcher.events()
  } finally {
    watched.watching.delete(watcher)
    watcher.stop()
  }
}

class Watcher {
  readonly #watched: WatchedStore
  readonly #collection: string
  readonly #prefix: string | undefined
  readonly #filter: Filter | null
  readonly #signal: AbortSignal | undefined
  /** After a resume we can't know what the reader had: what doesn't match and changed is told to leave. */
  readonly #isResumed: boolean
  readonly #matched = new Set<string>()
  /** Changed documents with the number of their first change that was not told, in order of those numbers. */
  readonly #changed = new Map<string, { space: Space; key: string; lsn: number }>()
  readonly #unsubscribe: () => void
  /** Everything that changed up to this number of the store has been told. */
  #toldLsn: number
  #mustReadAgain = true
  #wake: (() => void) | null = null
  readonly rouse = (): void => this.#wake?.()

  constructor(watched: WatchedStore, collection: string, options: WatchOptions) {
    this.#watched = watched
    this.#collection = collection
    this.#prefix = options.prefix
    this.#filter = filterOf(options.where)
    this.#signal = options.signal
    this.#isResumed = options.since !== undefined
    this.#toldLsn = lsnOf(options.since, watched)
    this.#signal?.addEventListener('abort', this.rouse)
    this.#unsubscribe = watched.store.subscribe((change) => {
      if (change.collection !== collection || (change.isSeries ?? false) !== watched.isSeries) return
      if ((change.isEncrypted ?? false) !== watched.isEncrypted) return
      if (!watched.keeps(change)) return
      if (isLive(change.document) || !watched.isSeries) this.#note(change, change.key, change.document.lsn)
    })
  }

  get #isOver(): boolean {
    return this.#signal?.aborted === true || this.#watched.watching.areOver
  }

  stop(): void {
    this.#unsubscribe()
    // It may be of a caller that watches again and again.
    this.#signal?.removeEventListener('abort', this.rouse)
  }

  async *events(): AsyncGenerator<WatchEvent> {
    while (!this.#isOver) {
      if (this.#mustReadAgain) {
        this.#mustReadAgain = false
        yield* this.#read()
      }
      yield* this.#changes()
      await this.#sleep()
    }
  }

  /** Everything that changed since `toldLsn`. The last event carries the cursor from which nothing of this is read again. */
  *#read(): Generator<WatchEvent> {
    const startedAt = this.#watched.lastLsn()
    const since = this.#toldLsn
    let held: WatchEvent | null = null
    for (const space of spacesOf(this.#watched, this.#collection)) {
      for (const { key, document } of entriesOf(this.#watched.store, space, this.#prefix)) {
        if (this.#isOver) return
        const name = nameOf(space, key)
        const event = document.lsn > since ? this.#eventOf(name, key, document) : this.#remember(name, document)
        if (event && held) yield held
        held = event ?? held
      }
    }
    this.#toldLsn = startedAt
    if (held) yield { ...held, cursor: this.#cursor() }
  }

  *#changes(): Generator<WatchEvent> {
    for (const [name, { space, key }] of this.#changed) {
      this.#changed.delete(name)
      const [next] = this.#changed.values()
      this.#toldLsn = next ? next.lsn - 1 : this.#watched.lastLsn()
      const event = this.#eventOf(name, key, this.#watched.store.get(space, key))
      if (event) yield event
      if (this.#isOver || this.#mustReadAgain) return
    }
  }

  /** Not told again, but known to match, so that its end will be told. */
  #remember(name: string, document: Document): null {
    if (!this.#watched.isSeries && this.#matches(document)) this.#matched.add(name)
    return null
  }

  #eventOf(name: string, key: string, document: Document | undefined): WatchEvent | null {
    const isMatch = document !== undefined && this.#matches(document)
    if (this.#watched.isSeries) return isMatch ? this.#rowEvent(key, document) : null
    const wasMatch = this.#matched.has(name)
    if (!isMatch && !wasMatch && !this.#isResumed) return null
    if (isMatch) this.#matched.add(name)
    else this.#matched.delete(name)
    const change = isMatch ? (wasMatch ? 'change' : 'enter') : 'leave'
    return { change, key, value: document ? fieldsOf(document, this.#watched.kinds) : {}, cursor: this.#cursor() }
  }

  #rowEvent(name: string, document: Document): WatchEvent {
    return { change: 'enter', ...viewOfRow({ name, document }), cursor: this.#cursor() }
  }

  #matches(document: Document): boolean {
    return isLive(document) && (this.#filter === null || this.#filter(fieldsOf(document, this.#watched.kinds)))
  }

  #note(space: Space, key: string, lsn: number): void {
    if (this.#prefix !== undefined && !key.startsWith(this.#prefix)) return
    const name = nameOf(space, key)
    if (!this.#changed.has(name)) this.#changed.set(name, { space, key, lsn })
    if (this.#changed.size > GATEWAY_LIMITS.watcherQueueMax) this.#forgetChanges()
    this.#wake?.()
  }

  /** Too many wait: they are found again by reading everything that changed since the first of them. */
  #forgetChanges(): void {
    const [first] = this.#changed.values()
    if (first) this.#toldLsn = Math.min(this.#toldLsn, first.lsn - 1)
    this.#changed.clear()
    this.#mustReadAgain = true
  }

  async #sleep(): Promise<void> {
    if (this.#changed.size > 0 || this.#mustReadAgain || this.#isOver) return
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    this.#wake = null
  }

  #cursor(): string {
    return `${this.#watched.instance}.${this.#toldLsn}`
  }
}

/** A cursor is `<instance>.<lsn>`; that of another store, or beyond what this one holds, begins from the start. */
function lsnOf(since: string | undefined, watched: WatchedStore): number {
  if (since === undefined) return 0
  const match = /^([0-9a-f]{16})\.(\d{1,15})$/.exec(since)
  if (!match) throw new MarramError('bad-request', `Cannot resume at "${since.slice(0, 60)}": it is no cursor of watch`)
  const lsn = Number(match[2])
  return match[1] === watched.instance && lsn <= watched.lastLsn() ? lsn : 0
}

function nameOf(space: Space, key: string): string {
  return `${space.partition}\0${key}`
}
