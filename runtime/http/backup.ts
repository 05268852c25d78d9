import { once } from 'node:events'
import { HTTP_LIMITS } from '../base/limits.ts'
import type { Exchange } from './exchange.ts'

/** All that is stored, as the bytes of a backup: cut short when something goes wrong, so that it has no sound end. */
export async function streamBackup({ operations, response, signal }: Exchange): Promise<void> {
  try {
    for await (const piece of operations.backup()) {
      if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/octet-stream' })
      signal.throwIfAborted()
      // While it is read what is overwritten takes room on the disk: who doesn't take it in time has gone.
      const patience = AbortSignal.any([signal, AbortSignal.timeout(HTTP_LIMITS.backupStallMs)])
      if (!response.write(piece)) await once(response, 'drain', { signal: patience })
    }
    response.end()
  } catch (error) {
    if (response.headersSent) response.destroy()
    throw error
  }
}
