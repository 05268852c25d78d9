import { existsSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { flushFolder } from './file.ts'

/** Where what is to take the place of the store in `dir` is put together. */
export function copyFor(dir: string): string {
  return `${dir}-restored`
}

/** The copy takes the store's place. Power may go at any moment: one of the two is always whole, and `finishReplacing` finds it. */
export function replaceByCopy(dir: string): void {
  rmSync(replacedOf(dir), { recursive: true, force: true })
  if (existsSync(dir)) renameSync(dir, replacedOf(dir))
  renameSync(copyFor(dir), dir)
  flushFolder(dirname(dir))
  rmSync(replacedOf(dir), { recursive: true, force: true })
}

/**
 * Before a store is opened or copied to: of a replacement that was cut short when the old store was out of its place and the new one
 * not yet in it. The old one goes only for a copy that is whole.
 */
export function finishReplacing(dir: string): void {
  if (existsSync(dir) || !existsSync(replacedOf(dir))) return
  renameSync(existsSync(copyFor(dir)) ? copyFor(dir) : replacedOf(dir), dir)
  flushFolder(dirname(dir))
  rmSync(replacedOf(dir), { recursive: true, force: true })
}

function replacedOf(dir: string): string {
  return `${dir}-replaced`
}
