import { latin1, utf8 } from '../base/bytes.ts'
import { sha256 } from '../crypto/hash.ts'
import { kindOfCell, type Reference } from '../model/cells.ts'
import type { Document } from '../model/document.ts'
import type { Entry } from './space.ts'

/** Of nearly every document. */
export const NO_LINKS: readonly string[] = []

/**
 * Who links to a document, without reading the others: LMDB has a row for each link of each document that it has, written
 * with the document in one transaction; of those that differ from LMDB the links are kept here. A row that has been
 * overtaken does no harm, for whoever asks looks at the document as well.
 */
export class LinkIndex {
  readonly #entries = new Map<string, Set<Entry>>()

  /** The document of `entry` differs from LMDB. */
  note(entry: Entry): void {
    const links = targetsOf(entry.document)
    if (links === NO_LINKS && entry.links === NO_LINKS) return
    this.forget(entry)
    entry.links = links
    for (const target of links) {
      const entries = this.#entries.get(target)
      if (entries) entries.add(entry)
      else this.#entries.set(target, new Set([entry]))
    }
  }

  /** LMDB has the document of `entry` as it is. */
  forget(entry: Entry): void {
    for (const target of entry.links) {
      const entries = this.#entries.get(target)
      entries?.delete(entry)
      if (entries?.size === 0) this.#entries.delete(target)
    }
    entry.links = NO_LINKS
  }

  entries(target: string): Iterable<Entry> {
    return this.#entries.get(target) ?? []
  }
}

/** The names of what a document links to, each once. */
export function targetsOf(document: Document): readonly string[] {
  const { paths, values } = document
  let targets: Set<string> | null = null
  for (let i = 0; i < paths.length; i++) {
    if (values[i] === null || kindOfCell(paths[i] as string) !== 'link') continue
    const [collection, partition, key] = values[i] as Reference
    targets ??= new Set()
    targets.add(targetName(collection, partition, key))
  }
  return targets === null ? NO_LINKS : [...targets]
}

/** 16 bytes of SHA-256 as latin1: keys of LMDB are bounded, those of documents are nearly as long. */
export function targetName(collection: string, partition: string, key: string): string {
  return latin1(sha256(utf8(`${collection}\0${partition}\0${key}`)).subarray(0, 16))
}
