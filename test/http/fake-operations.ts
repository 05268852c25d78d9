import { MarramError } from '../../runtime/base/errors.ts'
import type { Fields } from '../../runtime/model/value.ts'
import type {
  BatchWrite,
  DocumentView,
  InviteOptions,
  MemberView,
  Operations,
  PeerView,
  Provenance,
  PutOptions,
  Query,
  Receipt,
  StatusView,
  WaitOptions,
  WatchEvent,
  WatchOptions,
} from '../../runtime/ports/operations.ts'
import type { ReplicationTarget, ReplicationView } from '../../runtime/ports/replication.ts'

const TRANSFER: ReplicationView = {
  collection: 'readings',
  partition: null,
  peerId: 'p2',
  name: 'shop',
  state: 'behind',
  reason: null,
  lag: { batches: 3, bytes: 2_048, seconds: 20 },
  dropped: 0,
  since: '2026-01-02T03:04:05.006Z',
  confirmed: null,
}
const STAMP = '2026-01-02T03:04:05.006Z+0.0@me'

/** A gateway that keeps documents in memory, for tests of the doors before it. */
export class FakeOperations implements Operations {
  readonly collections: Map<string, Map<string, Fields>> = new Map()
  /** Called before each write; may throw, or make it wait. */
  beforeWrite: (key: string) => void | Promise<void> = () => {}
  readonly invites: (InviteOptions | undefined)[] = []
  readonly profiles: unknown[] = []
  /** How writes were to wait. */
  readonly waits: (number | undefined)[][] = []
  #wake: () => void = () => {}
  #events: WatchEvent[] = []

  async batch(
    collection: string,
    writes: readonly BatchWrite[],
    options: WaitOptions = {},
  ): Promise<{ readonly stamp: string }> {
    let stamp = ''
    this.#wait(options)
    for (const { key, fields } of writes) {
      const receipt = fields ? await this.put(collection, key, fields) : await this.delete(collection, key)
      stamp = receipt.stamp
    }
    return { stamp }
  }

  async put(collection: string, key: string, fields: Fields, options: PutOptions = {}): Promise<Receipt> {
    await this.beforeWrite(key)
    this.#wait(options)
    if (Object.keys(fields).length === 0) throw new MarramError('bad-request', 'Cannot put an empty object')
    const documents = this.#documents(collection)
    const merged = { ...(options.replace ? {} : documents.get(key)), ...fields }
    const value = Object.fromEntries(Object.entries(merged).filter(([, field]) => field !== null))
    documents.set(key, value)
    this.tell({ change: 'change', key, value, cursor: `c${documents.size}` })
    return { key, stamp: STAMP }
  }

  async delete(collection: string, key: string, options: WaitOptions = {}): Promise<Receipt> {
    this.#wait(options)
    if (!this.#documents(collection).delete(key)) throw new MarramError('not-found', `Cannot delete "${key}"`)
    return { key, stamp: STAMP }
  }

  get(collection: string, key: string): DocumentView | undefined {
    const value = this.#documents(collection).get(key)
    return value && { key, value }
  }

  provenance(collection: string, key: string): { readonly [path: string]: Provenance } | undefined {
    const value = this.get(collection, key)?.value
    const proof = { author: 'me', stamp: STAMP, feed: '00', sequence: 1, valid: true }
    return value && Object.fromEntries(Object.keys(value).map((path) => [path, proof]))
  }

  conflicts(): Iterable<never> {
    return []
  }

  async *backup(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('backup')
  }

  quarantine(): readonly never[] {
    return []
  }

  walk(): Iterable<never> {
    return []
  }

  *list(collection: string, query: Query = {}): Generator<DocumentView> {
    if (query.where === 'wrong') throw new MarramError('bad-request', 'Cannot use "wrong" as a filter')
    const keys = [...this.#documents(collection).keys()].sort()
    const wanted = keys.filter((key) => key.startsWith(query.prefix ?? '') && key > (query.after ?? ''))
    for (const key of wanted.slice(0, query.limit)) yield this.get(collection, key) as DocumentView
  }

  checkWritable(_collection: string): void {}

  isKept(): boolean {
    return true
  }

  count(collection: string, query: Query = {}): number {
    return [...this.list(collection, query)].length
  }

  async *watch(collection: string, options: WatchOptions = {}): AsyncGenerator<WatchEvent> {
    for (const { key, value } of this.list(collection, options)) yield { change: 'enter', key, value, cursor: 'c0' }
    options.signal?.addEventListener('abort', () => this.#wake())
    while (!options.signal?.aborted) {
      yield* this.#events.splice(0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  tell(event: WatchEvent): void {
    this.#events.push(event)
    this.#wake()
  }

  digest(collection?: string): { readonly collections: { readonly [name: string]: string } } {
    const names = [...this.collections.keys()].filter((name) => collection === undefined || name === collection)
    return { collections: Object.fromEntries(names.sort().map((name) => [name, 'ab'.repeat(32)])) }
  }

  status(): StatusView {
    const collections = [...this.collections].map(([name, all]) => [
      name,
      { kind: 'state', count: all.size, digest: 'ab'.repeat(32) },
    ])
    return {
      peerId: 'me',
      meshId: '00'.repeat(16),
      mesh: 'green',
      name: 'bench',
      state: 'running',
      enrolled: true,
      enrolment: null,
      encryption: { secrets: { epoch: 2, readable: false, waiting: 7, held: 0 } },
      version: '0.1.0',
      uptime: 7,
      interest: ['*'],
      profile: { id: 'gateway', revision: 3 },
      listeners: ['mqtt://127.0.0.1:1883'],
      certificate: null,
      collections: Object.fromEntries(collections) as StatusView['collections'],
      cell: 'north',
      bridge: false,
      superPeer: false,
      links: { up: 1, wanted: 1, bytesSent: 2_048, bytesReceived: 1_024, budget: null },
      discovery: { addresses: { bootstrap: 1 }, mdns: null },
      lag: { batches: 0, bytes: 0, seconds: 0 },
      conflicts: 0,
      quarantine: { batches: 0, messages: 0 },
      queue: { writes: 0, messages: 0, messageBytes: 0, unconfirmed: { batches: 0, bytes: 0, seconds: 0 } },
      replications: this.replications(),
      clock: { class: 2, source: 'rtc', offsetMs: 0, aheadMs: 0 },
      storage: {
        path: '/data',
        bytes: 1_024,
        freeBytes: null,
        isFull: false,
        written: 0,
        flushes: 0,
        tableBytes: 0,
      },
      memory: { rss: 1_024 },
      warnings: ['kind-mismatch: climate'],
    }
  }

  #wait({ wait, timeoutMs }: WaitOptions): void {
    if (wait !== undefined) this.waits.push([wait, timeoutMs])
    if (wait === 9) throw new MarramError('unconfirmed', 'Cannot confirm: 0 of 9; the write itself is done')
  }

  peers(): readonly PeerView[] {
    const unknown = {
      cell: null,
      links: null,
      bridge: false,
      superPeer: false,
      quality: null,
      latencyMs: null,
      lag: null,
      lastContact: null,
      version: null,
      link: null,
      reachable: false,
      addresses: [],
    }
    return [
      { ...unknown, peerId: 'p1', name: 'roof\u001b[2J', state: 'known' },
      {
        ...unknown,
        peerId: 'p2',
        name: 'shop',
        state: 'up',
        latencyMs: 12,
        lag: { batches: 3, bytes: 2_048, seconds: 1.6 },
      },
    ]
  }

  members(): readonly MemberView[] {
    const rest = {
      roles: [],
      grants: [],
      state: 'member',
      since: '',
      until: null,
      lastHeard: null,
      silent: [],
      cell: null,
      bridge: false,
      superPeer: false,
    } as const
    return this.peers().map(({ peerId, name }) => ({
      ...rest,
      peerId,
      name,
      succeeds: peerId === 'p2' ? 'p0' : null,
      heirs: [],
    }))
  }

  async remove(): Promise<void> {}

  async grant(): Promise<void> {}
  async revokeInvite(): Promise<{ joined: string[] }> {
    return { joined: [] }
  }
  async rotate(): Promise<{ peerId: string }> {
    return { peerId: 'new' }
  }

  replications(): readonly ReplicationView[] {
    return [TRANSFER]
  }

  async replicate(collection: string, { to, partition }: ReplicationTarget): Promise<ReplicationView> {
    if (to === 'p2') throw new MarramError('already-exists', `Cannot replicate "${collection}": it stands already`)
    return { ...TRANSFER, collection, peerId: to, partition: partition ?? null }
  }

  async stopReplicating(collection: string, { to, partition }: ReplicationTarget): Promise<ReplicationView> {
    if (to !== 'p2') throw new MarramError('not-found', `Cannot stop "${collection}": there is no such transfer`)
    return { ...TRANSFER, collection, partition: partition ?? null }
  }

  async invite(options?: InviteOptions): Promise<{ readonly token: string; readonly expires: string }> {
    this.invites.push(options)
    return { token: 'marram1abc', expires: '2026-01-02T04:04:05.006Z' }
  }

  profile(): unknown {
    return { id: 'gateway', schemaVersion: 1 }
  }

  async setProfile(profile: unknown): Promise<{ readonly revision: number; readonly restart: readonly string[] }> {
    this.profiles.push(profile)
    return { revision: 4, restart: ['broker.listen'] }
  }

  #documents(collection: string): Map<string, Fields> {
    if (!/^[a-z0-9-]+$/.test(collection)) throw new MarramError('bad-request', `Cannot use "${collection}"`)
    const documents = this.collections.get(collection) ?? new Map<string, Fields>()
    this.collections.set(collection, documents)
    return documents
  }
}
