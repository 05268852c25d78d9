import { hex, utf8 } from '../base/bytes.ts'
import type { Feed } from '../model/batch.ts'
import { isSystemName } from '../model/names.ts'
import type { Value } from '../model/value.ts'
import type { Documents, KeyValue, Records } from '../ports/store.ts'
import type { Writer } from '../ports/writer.ts'
import { entriesOf } from './reading.ts'

const PREFIX = 'gateway/draft/'

/**
 * What a gateway writes before it is admitted to its mesh: nobody else would take it, for it is stamped before the
 * admission. Such incarnations are remembered, stay at home, and what they hold is written again as a member.
 */
export class Drafts {
  readonly #peerId: string
  readonly #incarnations = new Map<string, 'pending' | 'written'>()

  constructor(peerId: string) {
    this.#peerId = peerId
  }

  load(store: Records): void {
    for (const { key, value } of store.scanRecords(PREFIX)) {
      const state = value && Buffer.from(value).toString() === 'written' ? 'written' : 'pending'
      this.#incarnations.set(key.slice(PREFIX.length), state)
    }
  }

  /** From now on `incarnation` is one; the record that says so is to be stored before anything is written in it. */
  add(incarnation: string): KeyValue {
    this.#incarnations.set(incarnation, 'pending')
    return { key: PREFIX + incarnation, value: utf8('pending') }
  }

  isDraft(feed: Feed): boolean {
    return feed.origin === this.#peerId && this.#incarnations.has(hex(feed.descriptor.incarnation))
  }

  /** To be called as a member. What was written again is no draft any more, so being cut short costs nothing. */
  async writeAgain(
    store: Documents & { append(append: { batches: []; records: KeyValue[] }): Promise<void> },
    writer: Writer,
  ): Promise<void> {
    const pending = [...this.#incarnations]
      .filter(([, state]) => state === 'pending')
      .map(([incarnation]) => incarnation)
    if (pending.length === 0) return
    for (const space of store.spaces()) {
      if (isSystemName(space.collection)) continue
      for (const { key, document } of entriesOf(store, space)) {
        const fields: { [path: string]: Value } = {}
        document.paths.forEach((path, i) => {
          const write = document.writes[i]
          if (write && this.isDraft(write.feed)) fields[path] = document.values[i] as Value
        })
        if (Object.keys(fields).length > 0)
          await writer.write(space.collection, space.partition, [{ kind: 'put', key, fields }])
      }
    }
    for (const incarnation of pending) this.#incarnations.set(incarnation, 'written')
    await store.append({
      batches: [],
      records: pending.map((incarnation) => ({ key: PREFIX + incarnation, value: utf8('written') })),
    })
  }
}
