import { join } from 'node:path'
import { createVerifier } from './crypto/signature.ts'
import { loadIdentity } from './identity/identity.ts'
import { takeLock } from './identity/lock.ts'
import { SILENT_LOG } from './ports/log.ts'
import { openStore } from './store/open.ts'
import { verifyStore, type Verification } from './store/verify.ts'

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
    const store = await openStore({ dir: path, meshId, log: SILENT_LOG, onFatal: () => {}, ...mode })
    const verifier = createVerifier()
    try {
      return await verifyStore(store, {
        meshId,
        verify: (feed, batch) => verifier.verify(feed.descriptor.publicKey, batch.signed, batch.signature),
        isRepair,
      })
    } finally {
      await store.close()
    }
  } finally {
    lock.release()
  }
}
