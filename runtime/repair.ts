import { join } from 'node:path'
import { hex } from './base/bytes.ts'
import { createVerifier } from './crypto/signature.ts'
import { loadIdentity } from './identity/identity.ts'
import { loadKeyring } from './identity/keyring-file.ts'
import { takeLock } from './identity/lock.ts'
import { keptStoreKey } from './identity/store-key.ts'
import { SequenceSet } from './model/sequences.ts'
import { SILENT_LOG } from './ports/log.ts'
import type { Store } from './ports/store.ts'
import { openError } from './store/database.ts'
import { openStore } from './store/open.ts'
import type { TableStore } from './store/table-store.ts'
import { verifyStore, type Verification } from './store/verify.ts'

/** Checks a store; with `isRepair` documents are put right and damaged batches leave the log, to come again from neighbours. */
export async function checkStore(store: TableStore, meshId: Uint8Array, isRepair: boolean): Promise<Verification> {
  const verifier = createVerifier()
  const verification = await verifyStore(store, {
    meshId,
    verify: (feed, batch) => verifier.verify(feed.descriptor.publicKey, batch.signed, batch.signature),
    isRepair,
  })
  if (isRepair) await dropBad(store, verification)
  return verification
}

async function dropBad(store: Store, { bad }: Verification): Promise<void> {
  for (const { feed } of store.heads()) {
    const seqs = SequenceSet.of(bad.filter((batch) => batch.feed === hex(feed.id)).map(({ sequence }) => sequence))
    if (!seqs.isEmpty) await store.append({ batches: [], drops: [{ feed, seqs, isDamaged: true }], records: [] })
  }
}

/**
 * Checks everything a stopped gateway has stored: each batch's hash, chain and signature, and that the documents are what
 * the batches say. With `isRepair` a damaged log is salvaged and documents are put right. Throws `in-use`,
 * `no-identity`, `not-found`, `storage-damaged`.
 */
export async function verifyGateway(dir: string, isRepair: boolean): Promise<Verification> {
  const { mesh } = loadIdentity(dir)
  const lock = takeLock(dir)
  try {
    const { meshId } = mesh
    const path = join(dir, 'data')
    const mode = isRepair ? { isRepair } : { readOnly: true }
    const keys = loadKeyring(dir)
    const encryptionKey = keptStoreKey(dir)
    const options = { dir: path, meshId, keys, encryptionKey, log: SILENT_LOG, onFatal: () => {}, ...mode }
    const store = await openStore(options)
    try {
      return await checkStore(store, meshId, isRepair)
    } catch (error) {
      throw openError(path, error)
    } finally {
      await store.close()
    }
  } finally {
    lock.release()
  }
}
