import { randomInteger, type Random } from '../../runtime/base/random.ts'
import type { Schedule } from './schedule.ts'
import type { Fault } from './simulation.ts'

/** What the network asks of the simulated world. */
export interface Ends {
  readonly random: Random
  readonly schedule: Schedule
  note(fault: Fault): void
  isUp(index: number): boolean
  /** The same of a gateway and of a copy of its card. */
  peerId(index: number): string
  linkUp(index: number, link: number, peer: number): void
  linkDown(index: number, link: number): void
  frame(index: number, link: number, bytes: Uint8Array): void
  /** What really goes out when a gateway sends something: liars change it, some as long as there are faults. */
  lies(index: number, link: number, bytes: Uint8Array, isFaulty: boolean): readonly Uint8Array[]
}

interface Pipe {
  readonly a: number
  readonly b: number
  readonly linkA: number
  readonly linkB: number
  isAUp: boolean
  isBUp: boolean
  lossRate: number
  jitterMs: number
  delayMs: number
  /** Nothing comes through to this end. */
  deaf: 'a' | 'b' | null
  lastArrivalAtA: number
  lastArrivalAtB: number
}

const REPEATED = 0.03
/** A link that was cut is dialled again after so long, and one that another took the place of; milliseconds. */
const AGAIN_MS: readonly [number, number] = [200, 3_000]
const REPLACED_MS: readonly [number, number] = [5_000, 30_000]

/** Links between gateways: they lose, delay, repeat and reorder frames, break, and are dialled again. */
export class Network {
  readonly #ends: Ends
  readonly #pipes = new Map<number, Pipe>()
  #side: number[] = []
  #core: ReadonlySet<number> | null = null
  #links = 0
  #isFaulty = true

  constructor(ends: Ends) {
    this.#ends = ends
  }

  /** Dials until it succeeds. */
  dial(a: number, b: number): void {
    const { random, schedule } = this.#ends
    if (this.#ends.peerId(a) === this.#ends.peerId(b) || this.#between(a, b, false) !== undefined) return
    if (!this.#ends.isUp(a) || !this.#ends.isUp(b) || this.#sideOf(a) !== this.#sideOf(b)) {
      schedule.after(randomInteger(random, 500, 5_000), () => this.dial(a, b))
      return
    }
    // As the mesh does it: one link with whoever has that key, and the newer one stays.
    for (let other = this.#between(a, b, true); other; other = this.#between(a, b, true)) this.#cut(other, true)
    const pipe = this.#newPipe(a, b)
    this.#pipes.set(pipe.linkA, pipe)
    this.#pipes.set(pipe.linkB, pipe)
    this.#ends.linkUp(a, pipe.linkA, b)
    this.#ends.linkUp(b, pipe.linkB, a)
  }

  /** A link of the two, or one of either with a copy of the other. */
  #between(a: number, b: number, isOfCopies: boolean): Pipe | undefined {
    const isSame = (x: number, y: number): boolean => {
      return isOfCopies ? this.#ends.peerId(x) === this.#ends.peerId(y) : x === y
    }
    const joins = (pipe: Pipe, x: number, y: number): boolean =>
      (pipe.a === x && isSame(pipe.b, y)) || (pipe.b === x && isSame(pipe.a, y))
    return [...this.#pipes.values()].find((pipe) => joins(pipe, a, b) || joins(pipe, b, a))
  }

  #newPipe(a: number, b: number): Pipe {
    const { random } = this.#ends
    const isLossy = this.#isFaulty && random() < 0.3
    const isSlow = this.#isFaulty && random() < 0.05
    if (isSlow) this.#ends.note('slow link')
    return {
      a,
      b,
      linkA: ++this.#links,
      linkB: ++this.#links,
      isAUp: true,
      isBUp: true,
      lossRate: isLossy ? random() * 0.1 : 0,
      jitterMs: isLossy ? randomInteger(random, 0, 200) : 2,
      delayMs: isSlow ? randomInteger(random, 500, 3_000) : randomInteger(random, 1, 40),
      deaf: null,
      lastArrivalAtA: 0,
      lastArrivalAtB: 0,
    }
  }

  send(from: number, link: number, bytes: Uint8Array): void {
    const pipe = this.#pipes.get(link)
    if (!pipe) return
    for (const frame of this.#ends.lies(from, link, bytes, this.#isFaulty)) this.#carry(pipe, from === pipe.a, frame)
  }

  #carry(pipe: Pipe, isFromA: boolean, bytes: Uint8Array): void {
    const { random } = this.#ends
    if (pipe.deaf === (isFromA ? 'b' : 'a') || random() < pipe.lossRate) return this.#ends.note('frame lost')
    this.#arrive(pipe, isFromA, bytes)
    if (pipe.lossRate > 0 && random() < REPEATED) {
      this.#ends.note('frame repeated')
      this.#arrive(pipe, isFromA, bytes)
    }
  }

  #arrive(pipe: Pipe, isFromA: boolean, bytes: Uint8Array): void {
    const { random, schedule } = this.#ends
    const last = isFromA ? pipe.lastArrivalAtB : pipe.lastArrivalAtA
    let at = schedule.now + pipe.delayMs + Math.floor(random() * pipe.jitterMs)
    if (at < last && pipe.jitterMs > 0 && this.#isFaulty) this.#ends.note('frames reordered')
    else at = Math.max(at, last)
    if (isFromA) pipe.lastArrivalAtB = Math.max(at, last)
    else pipe.lastArrivalAtA = Math.max(at, last)
    const [to, linkThere] = isFromA ? [pipe.b, pipe.linkB] : [pipe.a, pipe.linkA]
    schedule.at(at, () => {
      if (isFromA ? pipe.isBUp : pipe.isAUp) this.#ends.frame(to, linkThere, bytes)
    })
  }

  /** Neither end of a link has gone, though the other may not know yet. */
  isWhole(link: number): boolean {
    return this.#pipes.has(link)
  }

  /** One of its ends closes a link. */
  close(link: number): void {
    const pipe = this.#pipes.get(link)
    if (pipe) this.#ends.schedule.after(0, () => this.#cut(pipe))
  }

  cutSome(): void {
    const pipe = this.#pickPipe()
    if (pipe) this.#cut(pipe)
  }

  /** All links of a gateway that stopped. */
  cutAll(index: number): void {
    for (const pipe of new Set(this.#pipes.values())) if (pipe.a === index || pipe.b === index) this.#cut(pipe)
  }

  /** One end hears nothing more, until the link is given up or hears again. */
  deafen(): void {
    const pipe = this.#pickPipe()
    if (!pipe) return
    const { random, schedule } = this.#ends
    this.#ends.note('one-way link')
    pipe.deaf = random() < 0.5 ? 'a' : 'b'
    schedule.after(randomInteger(random, 5_000, 60_000), () => {
      pipe.deaf = null
    })
  }

  partition(gateways: number): void {
    const { random, schedule } = this.#ends
    this.#ends.note('partition')
    this.#side = Array.from({ length: gateways }, () => (random() < 0.5 ? 0 : 1))
    for (const pipe of new Set(this.#pipes.values())) {
      if (this.#sideOf(pipe.a) !== this.#sideOf(pipe.b)) this.#cut(pipe)
    }
    schedule.after(randomInteger(random, 1_000, 60_000), () => {
      this.#side = []
    })
  }

  /** No more faults; between a core and the others nothing gets through any more. */
  heal(core: ReadonlySet<number> | null): void {
    this.#isFaulty = false
    this.#side = []
    this.#core = core
    for (const pipe of new Set(this.#pipes.values())) {
      pipe.lossRate = 0
      pipe.deaf = null
      if (this.#sideOf(pipe.a) !== this.#sideOf(pipe.b)) this.#cut(pipe)
    }
  }

  #sideOf(index: number): number {
    if (this.#core !== null) return this.#core.has(index) ? 0 : 1
    return this.#side[index] ?? 0
  }

  #pickPipe(): Pipe | undefined {
    const pipes = [...this.#pipes.values()]
    return pipes[randomInteger(this.#ends.random, 0, Math.max(0, pipes.length - 1))]
  }

  /** Both ends learn of it, not always at the same time; at once when another link takes its place. */
  #cut(pipe: Pipe, isReplaced: boolean = false): void {
    const { random, schedule } = this.#ends
    if (!this.#pipes.delete(pipe.linkA)) return
    this.#pipes.delete(pipe.linkB)
    this.#ends.note('link cut')
    const isHalfOpen = !isReplaced && random() < 0.3
    if (isHalfOpen) this.#ends.note('half-open link')
    const late = isHalfOpen ? randomInteger(random, 100, 20_000) : 0
    pipe.isAUp = false
    this.#ends.linkDown(pipe.a, pipe.linkA)
    const end = (): void => {
      pipe.isBUp = false
      this.#ends.linkDown(pipe.b, pipe.linkB)
      const againMs = isReplaced ? REPLACED_MS : AGAIN_MS
      schedule.after(randomInteger(random, ...againMs), () => this.dial(pipe.a, pipe.b))
    }
    if (isReplaced) end()
    else schedule.after(late, end)
  }
}
