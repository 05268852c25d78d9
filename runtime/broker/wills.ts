import type { KeyValue } from '../ports/store.ts'
import { decodeWill, encodePacket, removal, willKey, type StoredWill } from './records.ts'
import type { RecordWriter } from './writer.ts'

/** Wills on the disk, so that what a client wanted said when it is lost is said when the power was lost with it. */
export class Wills {
  readonly #writer: RecordWriter
  /** How many connections of a client hold a will: while one replaces another there are two. */
  readonly #holders = new Map<string, number>()
  #lost: readonly StoredWill[] = []
  #isKeeping = false

  constructor(writer: RecordWriter) {
    this.#writer = writer
  }

  load(records: readonly KeyValue[]): void {
    this.#lost = records.flatMap(({ value }) => (value ? [decodeWill(value)] : []))
  }

  /** Of clients that were connected when the gateway last stopped: each is to be said, then forgotten. */
  lost(): readonly StoredWill[] {
    return this.#lost
  }

  async forget({ clientId }: StoredWill): Promise<void> {
    this.#lost = this.#lost.filter((will) => will.clientId !== clientId)
    await this.#writer.write([removal(willKey(clientId))])
  }

  async put(will: StoredWill): Promise<void> {
    this.#holders.set(will.clientId, (this.#holders.get(will.clientId) ?? 0) + 1)
    await this.#writer.write([{ key: willKey(will.clientId), value: encodePacket(will) }])
  }

  /** A connection has ended, and its will with it. The client's next connection may have put its own already: that stays. */
  async take(clientId: string): Promise<void> {
    const holders = this.#holders.get(clientId)
    if (holders === undefined || this.#isKeeping) return
    if (holders > 1) {
      this.#holders.set(clientId, holders - 1)
      return
    }
    this.#holders.delete(clientId)
    await this.#writer.write([removal(willKey(clientId))])
  }

  /** From now on none is taken back: those of clients that we end are said at the next start. */
  keep(): void {
    this.#isKeeping = true
  }
}
