import { join } from 'node:path'
import { hex } from './base/bytes.ts'
import { MarramError } from './base/errors.ts'
import { peerIdOf } from './crypto/identity.ts'
import { createVerifier } from './crypto/signature.ts'
import { loadIdentity } from './identity/identity.ts'
import { loadKeyring } from './identity/keyring-file.ts'
import { takeLock } from './identity/lock.ts'
import { gatewayName } from './identity/name.ts'
import { loadProfile } from './identity/profile-file.ts'
import { loadStoreKey } from './identity/store-key.ts'
import { DocumentService } from './operations/documents.ts'
import { isBatchValid } from './operations/evidence.ts'
import { Quarantine } from './operations/quarantine.ts'
import { rulesOf } from './operations/rules.ts'
import { statusOf } from './operations/status.ts'
import { storedReplications } from './operations/transfers.ts'
import { SILENT_LOG } from './ports/log.ts'
import type { Documents, QuarantineEntry, StatusView } from './ports/operations.ts'
import { resolveProfile } from './profile/resolve.ts'
import { openStore } from './store/open.ts'
import { VERSION } from './version.ts'

/** What can be read of a gateway that doesn't run: nothing is written, and no gateway may start meanwhile. */
export interface OfflineGateway {
  readonly documents: Documents
  status(): StatusView
  quarantine(): readonly QuarantineEntry[]
  close(): Promise<void>
}

/** Nothing beyond its rights was ever stored. */
const EVERYTHING: readonly string[] = ['*']

/** Throws `no-identity`, `in-use`, `not-found` (nothing was ever stored), `storage-damaged`. */
export async function openOffline(dir: string): Promise<OfflineGateway> {
  const { keys, mesh } = loadIdentity(dir)
  const lock = takeLock(dir)
  try {
    const parsed = loadProfile({ dir })
    const profile = resolveProfile(parsed.profile)
    const keyring = loadKeyring(dir)
    const store = await openStore({
      dir: join(dir, 'data'),
      meshId: mesh.meshId,
      keys: keyring,
      encryptionKey: loadStoreKey(dir, profile.storage),
      log: SILENT_LOG,
      onFatal: () => {},
      readOnly: true,
    })
    const verifier = createVerifier()
    const hasKey = (name: string): boolean => keyring.has(name)
    const encryption = {
      isEncrypted: (name: string) => profile.collections.get(name)?.encrypted ?? hasKey(name),
      hasKey,
    }
    const documents = new DocumentService({
      store,
      writer: {
        write: () => Promise.reject(new MarramError('not-running', `Cannot write: no gateway runs on "${dir}"`)),
      },
      confirmer: { checkWait: () => {}, confirm: () => Promise.resolve(0) },
      rules: () => rulesOf(profile, EVERYTHING, encryption),
      wallMs: Date.now,
      instance: '0000000000000000',
      isValid: (feedKey, seq) => isBatchValid(store, mesh.meshId, verifier, feedKey, seq),
    })
    const quarantine = new Quarantine({ store, wallMs: Date.now, holdings: () => [], onError: () => {} })
    return {
      documents,
      quarantine: () => quarantine.list(),
      status: () =>
        statusOf({
          peerId: peerIdOf(keys.publicKey),
          meshId: hex(mesh.meshId),
          meshIdBytes: mesh.meshId,
          mesh: mesh.name,
          name: gatewayName(profile.node),
          version: VERSION,
          isEnrolled: mesh.chain !== null,
          enrolment: mesh.refusal,
          uptimeMs: 0,
          wallMs: Date.now(),
          profile: { id: profile.id, revision: profile.revision },
          interest: profile.interest,
          listeners: [],
          certificate: null,
          clock: { class: 0, source: 'none', offsetMs: 0, hlc: 0 },
          waitingWrites: 0,
          broker: null,
          collections: documents.summaries(),
          encryption: {
            collections: () => keyring.collections(),
            newest: (name) => keyring.newest(name),
            hasKey: () => true,
            held: () => 0,
          },
          store,
          links: [],
          addresses: [],
          isReachable: () => false,
          own: { cell: profile.node.cell, bridge: false, superPeer: profile.mesh.superPeer, wanted: 0 },
          placeOf: () => ({ cell: null, links: null, bridge: false, superPeer: false }),
          mdns: null,
          totals: { bytesSent: 0, bytesReceived: 0 },
          others: new Map(),
          holdings: [],
          unconfirmed: [],
          replications: storedReplications(store),
          budget: null,
          quarantine: quarantine.list(),
          warnings: parsed.warnings,
        }),
      close: async () => {
        await store.close()
        lock.release()
      },
    }
  } catch (error) {
    lock.release()
    throw error
  }
}
