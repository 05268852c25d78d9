import { compareStamps, type Stamp } from '../../runtime/model/stamp.ts'
import type { SimulatedDisk } from './disk.ts'

interface Read {
  readonly stamp: Stamp
  /** A delete or removal has taken it away. */
  readonly isGone: boolean
}

interface Change {
  readonly cell: string
  readonly how: string
  /** What it showed, where that vanished. */
  readonly gone: Stamp | null
}

/**
 * SPEC I4 for one gateway: what it once showed in a cell gives way to what was written later, or to a delete or removal of it, and
 * to nothing else. Told of every document that may have changed.
 */
export class Reads {
  readonly #cells = new Map<string, Map<string, Read>>()

  /** Cells that went back, and how; with `mayGoBack` they do by right. */
  changed(disk: SimulatedDisk, name: string, mayGoBack: boolean): readonly Change[] {
    const found: Change[] = []
    const known = this.#cells.get(name) ?? new Map<string, Read>()
    if (mayGoBack) known.clear()
    this.#cells.set(name, known)
    const document = disk.documents.get(name)
    const gone = new Map<string, Stamp | null>([...known.keys()].map((path) => [path, document?.deleted ?? null]))
    for (const [i, path] of (document?.paths ?? []).entries()) {
      const stamp = document?.writes[i] as Stamp
      if (document?.values[i] === null) {
        gone.set(path, stamp)
        continue
      }
      gone.delete(path)
      const before = known.get(path)
      const order = before === undefined ? 1 : compareStamps(stamp, before.stamp)
      if (order < 0 || (order === 0 && before?.isGone)) {
        found.push({ cell: `${name} ${path}`, how: `${stamp.hlc} shows after ${before?.stamp.hlc}`, gone: null })
      }
      known.set(path, { stamp, isGone: false })
    }
    for (const [path, by] of gone) {
      const before = known.get(path)
      if (before === undefined || before.isGone) continue
      if (by === null || compareStamps(by, before.stamp) < 0) {
        found.push({ cell: `${name} ${path}`, how: `${before.stamp.hlc} vanished`, gone: before.stamp })
      }
      known.set(path, { stamp: before.stamp, isGone: true })
    }
    return found
  }
}
