import type { StatusView } from '../../ports/operations.ts'
import { batchesText } from '../amount.ts'
import { table } from '../table.ts'

const PLAIN_EVERY_MS = 3_000

/** Tells the story and keeps a table up to date: in place at a terminal, as plain lines elsewhere; on stderr when stdout is for JSON. */
export class Screen {
  readonly #stream: NodeJS.WriteStream
  readonly #isTerminal: boolean
  #lines = 0
  #plainAt = 0

  constructor(isJson: boolean) {
    this.#stream = isJson ? process.stderr : process.stdout
    this.#isTerminal = this.#stream.isTTY === true
  }

  say(sentence: string): void {
    this.#erase()
    this.#stream.write(`${new Date().toISOString().slice(11, 19)}  ${sentence}\n`)
  }

  table(rows: readonly { readonly name: string; readonly status: StatusView }[]): void {
    if (!this.#isTerminal) return this.#plain(rows)
    this.#erase()
    const text = table(
      ['GATEWAY', 'DOCUMENTS', 'LAG', 'LINKS', 'QUEUE', 'DIGEST'],
      rows.map(({ name, status }) => [
        name,
        `${documentsOf(status)}`,
        lagOf(status),
        `${status.links.up}`,
        `${status.queue.writes}`,
        digestOf(status),
      ]),
    )
    this.#stream.write(`${text}\n`)
    this.#lines = rows.length + 1
  }

  conclude(outcome: { readonly ok: boolean; readonly acknowledged: number; readonly lost: number }): void {
    const digests = outcome.ok ? 'All digests are equal' : 'The gateways differ or something was lost'
    this.say(`${digests}: ${outcome.acknowledged} messages acknowledged, ${outcome.lost} lost`)
  }

  #plain(rows: readonly { readonly name: string; readonly status: StatusView }[]): void {
    if (performance.now() - this.#plainAt < PLAIN_EVERY_MS) return
    this.#plainAt = performance.now()
    for (const { name, status } of rows) {
      this.#stream.write(
        `  ${name.padEnd(12)} documents ${documentsOf(status)}  lag ${lagOf(status)}  links ${status.links.up}  queue ${status.queue.writes}  digest ${digestOf(status)}\n`,
      )
    }
  }

  /** Moves back over the table, so that it is drawn in place. */
  #erase(): void {
    if (this.#lines > 0) this.#stream.write(`\u001b[${this.#lines}A\u001b[J`)
    this.#lines = 0
  }
}

function documentsOf(status: StatusView): number {
  return Object.values(status.collections).reduce((sum, { count }) => sum + count, 0)
}

function lagOf({ lag }: StatusView): string {
  return lag.batches === 0 ? 'none' : batchesText(lag.batches)
}

function digestOf(status: StatusView): string {
  const all = Object.values(status.collections).map(({ digest }) => digest.slice(0, 6))
  return all.length > 0 ? all.join(' ') : '-'
}
