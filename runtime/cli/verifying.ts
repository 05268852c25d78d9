import { fork } from 'node:child_process'
import { join } from 'node:path'
import { MarramError, type ErrorCode } from '../base/errors.ts'
import { databaseDamaged } from '../store/database.ts'
import type { Verification } from '../store/verify.ts'

/** What `verify-process.ts` answers. */
export type VerifyAnswer =
  | { readonly found: Verification }
  | { readonly code: ErrorCode | null; readonly message: string }

/** Of a process that reads what isn't there, or finds what can't be. */
const FAULTS: ReadonlySet<NodeJS.Signals> = new Set(['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGFPE', 'SIGILL'])
const PROCESS = join(import.meta.dirname, 'verify-process.js')

/** `verifyGateway` in a process of its own, for LMDB ends the one that it runs in where its pages are damaged: that too is `storage-damaged`. */
export function verifyApart(dir: string, isRepair: boolean): Promise<Verification> {
  return new Promise((resolve, reject) => {
    const child = fork(PROCESS, [dir, isRepair ? 'repair' : 'check'], { silent: true })
    child.once('error', reject)
    child.once('message', (answer: VerifyAnswer) => {
      if ('found' in answer) resolve(answer.found)
      else reject(answer.code === null ? new Error(answer.message) : new MarramError(answer.code, answer.message))
    })
    // Once it has answered this counts no more.
    child.once('exit', (status, signal) => {
      if (signal !== null && FAULTS.has(signal))
        reject(databaseDamaged(join(dir, 'data'), `LMDB gave up with ${signal}`))
      else
        reject(new Error(`Cannot check "${dir}": the process that does so ended with ${signal ?? `status ${status}`}`))
    })
  })
}
