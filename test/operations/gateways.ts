import assert from 'node:assert/strict'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import { createSigner, createVerifier } from '../../runtime/crypto/signature.ts'
import { Driver, type DriverOptions } from '../../runtime/driver/driver.ts'
import { DocumentService } from '../../runtime/operations/documents.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import type { LinkPeer } from '../../runtime/ports/link.ts'
import { examinePlace } from '../../runtime/store/verify.ts'
import { NO_COLLECTION_KEYS } from '../../runtime/sync/types.ts'
import { createMemoryStore, type MemoryStore, type MemoryStoreOptions } from '../../runtime/store/memory.ts'
import { Proofs } from '../../runtime/sync/proofs.ts'
import { Testimonies } from '../../runtime/sync/testimonies.ts'

/** Gateways in one process: real services, engines and drivers over stores in memory, linked by passing frames. */

export const MESH: Uint8Array = new Uint8Array(16).fill(4)
const verifier = createVerifier()

export interface Gateway {
  readonly driver: Driver
  readonly store: MemoryStore
  readonly documents: DocumentService
  readonly peer: LinkPeer
}

export interface GatewayOptions {
  readonly isSeries?: boolean
  /** Whether what is stamped now may be written; left out: always. */
  readonly permits?: () => boolean
  /** As of a memory store. */
  readonly onFlush?: MemoryStoreOptions['onFlush']
  readonly onEvent?: DriverOptions['onEvent']
  /** The time that it goes by; left out: this machine's. */
  readonly wallMs?: () => number
}

export function gateway(
  name: number,
  {
    isSeries = true,
    permits = () => true,
    onFlush,
    onEvent = () => {},
    wallMs = () => Date.now(),
  }: GatewayOptions = {},
): Gateway {
  const signer = createSigner(new Uint8Array(32).fill(name))
  const { publicKey } = signer
  const peerId = peerIdOf(publicKey)
  const store = createMemoryStore(onFlush ? { onFlush } : {})
  const driver = new Driver({
    engine: {
      meshId: MESH,
      peerId,
      publicKey,
      incarnation: new Uint8Array(8).fill(name),
      clockFloor: 0,
      notBeforeMs: 0,
      name: String(name),
      version: '',
      batchDelayMs: 0,
      batchOpsMax: 1_024,
    },
    store,
    clock: { wallMs, monotonicMs: () => performance.now(), trust: () => 2 },
    authority: {
      isKnown: () => true,
      permits,
      learn: () => false,
      chainOf: () => [],
      isShared: () => true,
      readable: () => ['*'],
      writers: () => [],
      sealOf: () => Number.POSITIVE_INFINITY,
      aheadOf: () => Number.POSITIVE_INFINITY,
      asked: () => [],
      isClosed: () => false,
      testimonies: new Testimonies(),
      proofs: new Proofs(),
      isMember: () => true,
    },
    keys: NO_COLLECTION_KEYS,
    sign: (message) => signer.sign(message),
    verify: (key, message, signature) => verifier.verify(key, message, signature),
    examine: (place) => examinePlace(store, MESH, place),
    log: SILENT_LOG,
    onEvent,
  })
  store.knowOwn((feed) => feed.origin === peerId)
  const documents = new DocumentService({
    store,
    writer: driver,
    confirmer: { checkWait: () => {}, confirm: driver.confirm },
    rules: () => ({
      partitionOf: () => '',
      isEncrypted: () => false,
      isLocked: () => false,
      isSeries: () => isSeries,
      kindsOf: () => new Map(),
      refusal: () => null,
      keeps: () => true,
      keepsSome: () => true,
      strangeness: () => null,
    }),
    wallMs: () => driver.time.wallMs,
    instance: '0000000000000000',
    isValid: () => true,
  })
  return { driver, store, documents, peer: { peerId, publicKey, chain: [], name: String(name) } as unknown as LinkPeer }
}

/** Frames of each go to the other at the end of the turn. */
export function link(a: Gateway, b: Gateway, number: number): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    linksOf(from).set(number, to)
    from.driver.start({
      send: (id, bytes) => {
        setImmediate(() => linksOf(from).get(id)?.driver.frame(id, bytes.slice()))
        return true
      },
      close: (_, reason) => assert.fail(reason),
    })
  }
  a.driver.up(number, b.peer)
  b.driver.up(number, a.peer)
}

export function unlink(a: Gateway, b: Gateway, number: number): void {
  for (const each of [a, b]) {
    linksOf(each).delete(number)
    each.driver.down(number)
  }
}

const links = new Map<Gateway, Map<number, Gateway>>()

function linksOf(of: Gateway): Map<number, Gateway> {
  const known = links.get(of) ?? new Map<number, Gateway>()
  links.set(of, known)
  return known
}

export async function until(what: string, isSo: () => boolean): Promise<void> {
  const end = performance.now() + 60_000
  for (let i = 0; i < 20_000 || performance.now() < end; i++) {
    if (isSo()) return
    // What takes turns comes soon; what waits for its time is not waited for by spinning.
    await (i < 20_000 ? turn() : sleep(20))
  }
  assert.fail(`never: ${what}`)
}
