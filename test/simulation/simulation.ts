import { equal, hex, latin1 } from '../../runtime/base/bytes.ts'
import { GATEWAY_LIMITS } from '../../runtime/base/limits.ts'
import { randomInteger, seededRandom, type Random } from '../../runtime/base/random.ts'
import { epochOf } from '../../runtime/crypto/epoch-key.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import type { Batch, Feed, Ops } from '../../runtime/model/batch.ts'
import type { Place } from '../../runtime/model/interest.ts'
import { placeOf, SELF_COLLECTION } from '../../runtime/model/names.ts'
import { msOfHlc, type Hlc, type Stamp } from '../../runtime/model/stamp.ts'
import { HELD_PREFIX } from '../../runtime/sync/statements.ts'
import { Keyring } from '../../runtime/access/keyring.ts'
import { sealsAbove, type Holding } from '../../runtime/access/removals.ts'
import type { Removal, Writer } from '../../runtime/access/seals.ts'
import type { EngineOptions, HistoryOptions, Priority } from '../../runtime/sync/types.ts'
import { Byzantine } from './byzantine.ts'
import { checkDelivered, checkFrame, isNeeded, isOnOthersDisks, violations } from './checks.ts'
import { lastingDeletes } from './deletes.ts'
import { Confirmed } from './confirmed.ts'
import { stampShown, type SimulatedDisk } from './disk.ts'
import { fakeKey, fakeSignature, SimulatedGateway, type Acknowledged, type World } from './gateway.ts'
import { Progress } from './histories.ts'
import { falseHoldings } from './holdings.ts'
import { LaterVersion } from './later.ts'
import { lieAbout } from './lies.ts'
import { coreOf } from './liveness.ts'
import { Network } from './network.ts'
import { SharedReading } from './reading.ts'
import { Reads } from './reads.ts'
import { promisesOf } from './promises.ts'
import { Schedule } from './schedule.ts'
import { Spreading } from './spreading.ts'
import { Trace } from './trace.ts'
import { COLLECTIONS, DEADLY_MIX, drawOp, INTERESTS, PLACES, USUAL_MIX } from './writes.ts'

/**
 * A whole mesh in one process on a virtual clock: the real engine, model and wire over simulated disks, clocks and links.
 * Watched all along: SPEC I14, I16, I25. Everything that happens is drawn from one seed, so the same seed gives the same run, byte for byte (`traceHash`).
 */
export interface Scenario {
  readonly seed: number
  readonly gateways: number
  /** Virtual minutes of faults, before everything is healed and must converge. */
  readonly minutes: number
  /** How often each gateway writes, at most. */
  readonly writesMax: number
  /** How often each member says what it holds; virtual milliseconds. */
  readonly beaconMs: number
  /** Copied cards and stores put back from old copies are among the faults. */
  readonly forks?: boolean
  /** A member is removed; by chance in some runs without this. */
  readonly removals?: boolean
  /** Gateways keep different collections and partitions, and change what they keep. */
  readonly interests?: boolean
  /** Short: compactions, deletes and cut links come often, and what was overtaken goes soon. */
  readonly history?: 'long' | 'short'
  /** One collection is encrypted; one gateway never has its keys, another gets them late. */
  readonly encrypted?: boolean
  /** After the faults only a core is healed; all others stay cut off or dead, and the core must converge without them. */
  readonly liveness?: boolean
  /** The clocks of some run ahead to 2099, believed by all who ask them, and come back; nobody is removed or left alone then. */
  readonly overruns?: boolean
  /**
   * One member signs what no honest gateway would, and the others must be equal. Some of it: two batches of one number and false
   * beacons, as long as there are faults. All: false checkpoints too, and it never ceases to lie.
   */
  readonly byzantine?: 'no' | 'some' | 'all'
  /** One member is updated to a later version and put back, again and again: it says and has written what the others don't understand. */
  readonly versions?: boolean
}

const EPOCH_KEY = new Uint8Array(32).fill(7)
const EPOCH = { epoch: epochOf(1, EPOCH_KEY), key: EPOCH_KEY }
/** Of each minute of faults so many milliseconds pass until the keys come that come late. */
const LATE_MS = 40_000

const SHORT_HISTORY: Partial<HistoryOptions> = {
  pruneGraceMs: 2_000,
  tombstoneGraceMs: 4_000,
  minBytes: 600,
  intervalMs: 1_500,
  tombstoneMs: 3_000,
}

/** What goes wrong around the gateways. */
export const FAULTS = [
  'link cut',
  'half-open link',
  'one-way link',
  'slow link',
  'frame lost',
  'frame repeated',
  'frames reordered',
  'power cut',
  'power cut with unflushed appends',
  'partition',
  'disk full',
  'commit failed',
  'batches rotted',
  'batches spoiled',
  'documents altered',
  'clock jump',
  'clock ran ahead',
  'restored copy',
  'restored copy unnoticed',
  'cloned gateway',
  'late member',
  'member retired',
  'member revoked',
  'interest changed',
  'later version put back',
  'lie: bad signature',
  'lie: changed body',
  'lie: cut frame',
  'lie: false head',
  'lie: withheld batches',
  'lie: flood',
  'byzantine: two batches of one number',
  'byzantine: false beacon',
  'byzantine: false checkpoint',
  'gateway cut off for good',
  'gateway dead for good',
] as const
export type Fault = (typeof FAULTS)[number]

/** Rare branches that seeds of the gate must reach, so that no test passes for want of trouble. */
export const SOMETIMES = [
  'batch deferred',
  'resync',
  'checkpoint signed',
  'dead batches dropped',
  'tombstones collected',
  'operations told again',
  'feed jumped',
  'fork proven',
  'feed cut',
  'own branch cut',
  'own writes made again',
  'holes mended',
  'damaged batch refused',
  'damaged batch found',
  'places left',
  'divergence found',
  'documents mended',
  'keys came late',
  'clock found ahead',
] as const
export type Sometimes = (typeof SOMETIMES)[number]

/**
 * Mostly small meshes, now and then one of up to fifty; copied cards in every fourth of either, different interests in another
 * fourth, a core that is healed alone in every seventh. What is given is not drawn.
 */
export function scenarioOf(seed: number, given: Partial<Scenario> = {}): Scenario {
  const hundreds = Math.floor(seed / 100)
  const large = largeOf(seed)
  const gateways = given.gateways ?? large ?? (SIZES[seed % SIZES.length] as number)
  const isShort = given.history === 'short'
  const drawn = {
    seed,
    gateways,
    minutes: isShort || gateways > MANY ? 1 : 3,
    writesMax:
      gateways > SEVERAL ? Math.max(WRITES_MIN, Math.round(WRITES / gateways)) : isShort ? WRITES_SHORT : WRITES_MAX,
    beaconMs: (isShort ? SHORT_BEACON_MS : BEACON_MS) * Math.max(1, gateways / SEVERAL),
    liveness: seed % LIVENESS_EVERY === 3,
    forks: large === null ? seed % 4 === 0 : hundreds % 4 === 3,
    interests: large === null ? seed % 4 === 2 : hundreds % 4 === 2,
    // With keys that a liar has it could say to everyone what it likes; that is for the unit tests.
    encrypted: seed % ENCRYPTED_EVERY === 4 && gateways > 2 && given.byzantine === undefined,
    overruns: seed % OVERRUNS_EVERY === 6 && given.byzantine === undefined,
    versions: seed % VERSIONS_EVERY === 7,
  }
  const scenario = { ...drawn, ...given }
  return scenario.overruns ? { ...scenario, liveness: false, removals: false, forks: given.forks ?? false } : scenario
}

/** Of a hundred seeds one has 20 to 50 gateways, one 11 to 19 and one 9; the numbers share no factor, so all occur. */
function largeOf(seed: number): number | null {
  switch (seed % 100) {
    case 99:
      return 20 + (seed % 31)
    case 49:
      return 11 + (seed % 9)
    case 74:
      return 9
    default:
      return null
  }
}

/** What there is to do grows with the links and with what is said: of more than several each says less, and many less long. */
const SEVERAL = 5
const MANY = 10
const WRITES = 180
const WRITES_MIN = 5
const WRITES_MAX = 60
const WRITES_SHORT = 150
const BEACON_MS = 15_000
const SHORT_BEACON_MS = 3_000
const LIVENESS_EVERY = 7
const ENCRYPTED_EVERY = 7
const OVERRUNS_EVERY = 11
const VERSIONS_EVERY = 9
const UPDATES = 4
const SIZES: readonly number[] = [2, 3, 4, 5, 6, 3, 4, 8, 5, 3, 10, 4, 7]

interface Issued {
  readonly batch: Batch
  /** Null for a checkpoint. */
  readonly ops: Ops | null
  /** When it was made, in the simulation's own time: no gateway's clock. */
  readonly atMs: number
}

/** How a cell changed that should not. */
export interface CellChange {
  readonly how: string
  /** Of what it showed, where that is gone; else null. */
  readonly gone: Stamp | null
}

/** A feed's batches by their hash: of a copied card there may be two with one sequence. */
export interface IssuedFeed {
  readonly feed: Feed
  readonly batches: Map<string, Issued>
}

/** What a believed clock lets pass from others (TIMES.futureMs of the engine), and a second. */
const FUTURE_MS = 301_000
const START_MS = Date.UTC(2026, 0, 1)
const AHEAD_MS = Date.UTC(2099, 0, 1)
/** No right clock of any run comes so far. */
const SANE_MS = START_MS + 86_400_000
/** Minutes after the last fault: at least, so that what was dead may still do harm; and at most. */
const QUIET_MINUTES = 2
const CONVERGENCE_MINUTES = 20
/** With a short history: by then no delete is left that could go. */
const DELETES_MINUTES = 2
/** A mesh that is this busy never comes to rest. */
const EVENTS_MAX = 4_000_000
const SEEN_MAX = 10
/** Rounds of writes when all is at rest; in the first trees may still grow. */
const SPREAD_ROUNDS = 4
const SPREAD_MS = 5_000
/** Little, but more than any batch has in these runs: one that had more would never go. */
const CREDIT_BYTES_SMALL = 16_384
const EVERYTHING: readonly string[] = ['*']
const HOLDINGS_MS = 3_000

export class Simulation implements World {
  readonly scenario: Scenario
  readonly random: Random
  readonly schedule: Schedule = new Schedule(EVENTS_MAX)
  readonly meshId: Uint8Array = new Uint8Array(16).fill(7)
  readonly reading: SharedReading = new SharedReading(this.meshId)
  readonly gateways: SimulatedGateway[] = []
  readonly acknowledgements: Acknowledged[] = []
  /** How often something was counted, by place. */
  readonly counted: Map<string, number> = new Map<string, number>()
  /** Every batch that ever was on its author's disk. */
  readonly issued: Map<string, IssuedFeed> = new Map<string, IssuedFeed>()
  readonly faults: Map<Fault, number> = new Map<Fault, number>()
  readonly sometimes: Map<Sometimes, number> = new Map<Sometimes, number>()
  /** Violations seen while it runs. */
  readonly seen: string[] = []
  /** Cells that showed something else when dead batches left: none may, but where a voided write is involved. */
  readonly changedByDrops: Map<string, CellChange> = new Map<string, CellChange>()
  /** Cells that went back on a gateway: none may, but where a voided write is involved. */
  readonly wentBack: Map<string, CellChange> = new Map<string, CellChange>()
  /** By feed of a lost member, up to where one that is healed held it when that one was removed. */
  readonly heldOfLost: Map<string, number> = new Map<string, number>()
  /** By feed, the least sequence from which it was ever taken for void, if only for a while. */
  readonly cutFrom: Map<string, number> = new Map<string, number>()
  /** Who was copied or put back: its clock may fall behind what it said in its beacons (protocol R14). */
  readonly copied: Set<string> = new Set<string>()
  /** What was on the disks in whose place old copies were put. */
  readonly putBack: SimulatedDisk[] = []
  /** Virtual time from the end of the faults until all were equal, by the minute. */
  convergedAfterMs = 0
  /** Gateway and neighbour, where what the former knows of the latter's disk is from before it kept something else. */
  readonly unheard: Set<string> = new Set<string>()
  /** Where gateways write. */
  readonly places: readonly Place[]
  /**
   * Room for dead batches: little in half of the runs, where they go before all have confirmed them. Not with seals, which may want
   * them back.
   */
  readonly history: Partial<HistoryOptions>
  /** Of the encrypted collection, in some runs. */
  readonly keyring?: Keyring
  /** In every second run one collection is urgent, in every third a neighbour is sent little at once. */
  readonly engine: () => Partial<EngineOptions>
  framesSent = 0
  bytesSent = 0
  /** The member that signs what isn't so, in some runs. */
  readonly byzantine: Byzantine | null
  /** The member that was updated, in some runs. */
  readonly #later: LaterVersion | null
  readonly #progress = new Map<SimulatedGateway, Progress>()
  readonly #trace = new Trace()
  readonly #network: Network
  readonly #spreading: Spreading
  /** One gateway that lies, in some runs. */
  readonly #liar: number
  readonly #hasRemovals: boolean
  readonly #hasInterests: boolean
  readonly #readable = new Map<string, readonly string[]>()
  readonly #changed = new Set<string>()
  /** By index, who is healed after the faults; null for all. */
  readonly #core: ReadonlySet<number> | null
  readonly #members: Writer[] = []
  readonly #dead = new Set<SimulatedGateway>()
  /** From where on each gateway knows a feed to be void. */
  readonly #cuts = new Map<string, number>()
  readonly removals: Removal[] = []
  /** What everyone has confirmed, whoever was cut since. */
  readonly confirmed: Confirmed = new Confirmed()
  readonly #reads = new Map<SimulatedDisk, Reads>()
  readonly #peerIds: string[] = []
  /** The link of the frame that came last. */
  #heardOver = 0
  readonly #snapshots = new Map<SimulatedGateway, { readonly disk: SimulatedDisk; readonly incarnation: Uint8Array }>()

  constructor(scenario: Scenario) {
    this.scenario = scenario
    const flow = {
      priority: new Map<string, Priority>(scenario.seed % 2 === 0 ? [['plugs', 'urgent']] : []),
      creditBytes: scenario.seed % 3 === 0 ? CREDIT_BYTES_SMALL : GATEWAY_LIMITS.creditBytes,
    }
    this.engine = () => ({ flow })
    this.#spreading = new Spreading((collection) => flow.priority.has(collection))
    this.random = seededRandom(scenario.seed)
    const isByChance = scenario.gateways > 2 && this.random() < 0.25
    this.#hasRemovals = scenario.removals ?? isByChance
    const { beaconMs } = scenario
    const isSealing = scenario.forks === true || this.#hasRemovals || scenario.overruns === true
    const isTight = !isSealing && this.random() < 0.5
    const trashBytesMax = isTight ? 1_000 : 67_108_864
    this.#hasInterests = scenario.interests === true && scenario.gateways > 2
    this.places = this.#hasInterests ? PLACES : COLLECTIONS.map((collection) => ({ collection, partition: '' }))
    this.history = { ...(this.#isShort && SHORT_HISTORY), beaconMs, beaconStaleMs: beaconMs * 2, trashBytesMax }
    const liar = this.random() < 0.25 ? randomInteger(this.random, 0, scenario.gateways - 1) : -1
    const isByzantine = scenario.byzantine === 'some' || scenario.byzantine === 'all'
    this.#liar = isByzantine ? scenario.seed % scenario.gateways : liar
    // Who keeps all carries it for the others, and is needed.
    this.#core = scenario.liveness === true && !this.#hasInterests ? coreOf(scenario.seed, scenario.gateways) : null
    this.#network = new Network({
      random: this.random,
      schedule: this.schedule,
      note: (fault) => this.noteFault(fault),
      isUp: (index) => this.#gateway(index).isUp,
      peerId: (index) => this.peerIdOf(index),
      linkUp: (index, link, peer) => this.#gateway(index).linkUp(link, peer),
      linkDown: (index, link) => {
        this.#spreading.down(link)
        this.#gateway(index).linkDown(link)
      },
      frame: (index, link, bytes) => {
        const promises = promisesOf(bytes)
        if (promises) this.#spreading.arrived(this.#gateway(index), link, promises)
        this.#deliver(this.#gateway(index), link, bytes)
      },
      lies: (index, link, bytes, isFaulty) => {
        const said = this.#later?.gateway.index === index ? this.#later.speak(bytes) : bytes
        return index === this.#liar ? this.#lie(link, said, isFaulty) : [said]
      },
    })
    if (scenario.encrypted === true) this.keyring = new Keyring([{ collection: 'plugs', ...EPOCH }])
    for (let index = 0; index < scenario.gateways; index++) this.#addGateway(index)
    this.byzantine = isByzantine ? this.#makeByzantine(this.#gateway(this.#liar)) : null
    const updated = scenario.versions === true ? this.#gateway((scenario.seed >> 4) % scenario.gateways) : null
    this.#later = updated && new LaterVersion(updated, this.meshId, seededRandom(scenario.seed + 3))
    if (this.#hasInterests) this.#drawInterests()
    if (scenario.encrypted === true) this.#giveKeys()
  }

  /** All but two have them. */
  #giveKeys(): void {
    const { seed, gateways, minutes } = this.scenario
    if (gateways < 3) return
    const blind = this.#gateway(seed % gateways)
    const late = this.#gateway((seed + 1) % gateways)
    blind.hasKeys = false
    late.hasKeys = false
    this.schedule.at(minutes * LATE_MS, () => {
      for (const gateway of this.gateways) if (gateway.peerId === late.peerId) gateway.learnKeys()
      this.note('keys came late')
    })
  }

  get #isShort(): boolean {
    return this.scenario.history === 'short'
  }

  run(): void {
    const late = this.#lateMember()
    for (const gateway of this.gateways) {
      if (gateway !== late) this.#admit(gateway, 0)
    }
    const edges = this.#edges()
    for (const [a, b] of edges) this.#network.dial(a, b)
    // Who keeps little carries nothing for others: the first keeps all, and everyone knows it.
    if (this.#hasInterests) for (const { index } of this.gateways.slice(1)) this.#network.dial(0, index)
    for (const gateway of this.gateways) if (gateway !== late) this.#planWrites(gateway, 0)
    this.#planFaults()
    this.#planAlterations(edges)
    this.#planOverruns()
    this.#planUpdates()
    this.#watchHoldings()
    this.schedule.runUntil(this.scenario.minutes * 60_000)
    this.#heal()
    this.#converge()
  }

  /** Everything that is to be is healed: within a bound all of it must be equal, however long deferred batches wait for their time. */
  #converge(): void {
    for (let minutes = QUIET_MINUTES; minutes <= CONVERGENCE_MINUTES; minutes++) {
      this.schedule.runUntil((this.scenario.minutes + minutes) * 60_000)
      this.convergedAfterMs = minutes * 60_000
      if (violations(this).length === 0) break
    }
    this.#spread()
    // Who is cut off says nothing, and who lies what isn't so: deletes wait for it.
    if (!this.#isShort || this.#core !== null || this.byzantine !== null) return
    this.schedule.runUntil(this.schedule.now + DELETES_MINUTES * 60_000)
    for (const found of lastingDeletes(this)) this.report(found)
  }

  /** The last may read only a part, in some runs. */
  #drawInterests(): void {
    for (const gateway of this.gateways.slice(1)) gateway.interest = this.#pick(INTERESTS)
    const last = this.#gateway(this.scenario.gateways - 1)
    if (this.random() < 0.3) this.#readable.set(last.peerId, ['climate', 'plugs/s'])
  }

  readable(origin: string): readonly string[] {
    return this.#readable.get(origin) ?? EVERYTHING
  }

  #changeInterest(): void {
    const gateway = this.#pick(this.gateways)
    const { interest } = gateway
    this.#giveInterest(gateway, this.#pick(INTERESTS))
    // Often it was a mistake: before anybody knows of it, or before all is gone, it is as it was.
    if (this.random() < 0.5) {
      this.schedule.after(randomInteger(this.random, 1, 2_000), () => this.#giveInterest(gateway, interest))
    }
  }

  #giveInterest(gateway: SimulatedGateway, interest: readonly string[]): void {
    if (gateway.index === 0 || !gateway.isUp || isNeeded(this, gateway)) return
    this.noteFault('interest changed')
    const before = PLACES.filter((place) => gateway.keepsAt(place))
    this.#changed.add(gateway.peerId)
    for (const { index } of this.gateways) this.unheard.add(`${index} ${gateway.peerId}`)
    gateway.changeInterest(interest)
    for (const place of before) if (!gateway.keepsAt(place)) gateway.onceLeft.add(placeOf(place))
  }

  /** From where on the gateway knows the feed to be void, as far as it has said so since it was started. */
  cutOf({ boots, index }: SimulatedGateway, { id }: Feed): number {
    return this.#cuts.get(`${boots} ${index} ${hex(id)}`) ?? Number.POSITIVE_INFINITY
  }

  /** Some gateway has kept it and then not, for a while or still. */
  isOnceLeft(place: Place): boolean {
    return this.gateways.some((gateway) => gateway.onceLeft.has(placeOf(place)))
  }

  #deliver(gateway: SimulatedGateway, link: number, bytes: Uint8Array): void {
    if (this.#hasInterests) for (const found of checkDelivered(this, gateway, link, bytes)) this.report(found)
    this.#heardOver = link
    gateway.frame(link, bytes)
  }

  /** At rest a few writes more: when the trees have settled each batch comes once, or twice where there are two parents. */
  #spread(): void {
    for (let round = 0; round < SPREAD_ROUNDS; round++) {
      if (round === 1) this.#spreading.startCounting(this.healed)
      for (const gateway of this.healed) for (const place of this.places) this.#writeTo(gateway, place)
      this.schedule.runUntil(this.schedule.now + SPREAD_MS)
    }
    const tooMany = this.#spreading.endCounting()
    // Of what a liar repeats it is not to blame who has it twice.
    if (this.byzantine === null) for (const found of tooMany) this.report(found)
    for (let i = 0; i < CONVERGENCE_MINUTES && violations(this).length > 0; i++) {
      this.schedule.runUntil(this.schedule.now + 60_000)
    }
  }

  #makeByzantine(gateway: SimulatedGateway): Byzantine {
    // Of its clock, and of what it wrote on which branch, nothing is asked, as of a copied card.
    this.copied.add(gateway.peerId)
    return new Byzantine(gateway, {
      random: this.random,
      meshId: this.meshId,
      note: (fault) => this.noteFault(fault),
      signed: (feed, batch, ops) => this.#noteIssued(feed, batch, ops),
    })
  }

  #lie(link: number, bytes: Uint8Array, isFaulty: boolean): readonly Uint8Array[] {
    if (this.scenario.byzantine !== 'all' && !isFaulty) return [bytes]
    const said = this.byzantine?.speak(link, bytes) ?? bytes
    return lieAbout(this.random, said, (lie) => this.noteFault(lie))
  }

  /** Again and again: what gateways know of each other must be true at any time. */
  #watchHoldings(): void {
    for (const gateway of this.present) {
      const view = gateway.engine?.view
      for (const found of view ? falseHoldings(this, gateway, view) : []) this.report(found)
      const progress = this.#progress.get(gateway) ?? new Progress()
      this.#progress.set(gateway, progress)
      const liar = this.byzantine?.gateway.peerId
      for (const found of progress.wentBack(gateway, view, liar)) this.report(found)
    }
    if (this.scenario.forks === true || this.#hasRemovals) this.confirmed.watch(this)
    this.schedule.after(HOLDINGS_MS, () => this.#watchHoldings())
  }

  /** The gateway whose frames lie, if there is one. */
  get liar(): SimulatedGateway | undefined {
    return this.gateways[this.#liar]
  }

  get traceHash(): string {
    return this.#trace.digest
  }

  /** All that have not been removed. */
  get present(): readonly SimulatedGateway[] {
    return this.gateways.filter((gateway) => !gateway.isGone)
  }

  /** Those of them that are healed after the faults, and honest. */
  get healed(): readonly SimulatedGateway[] {
    const liar = this.byzantine?.gateway.peerId
    return this.present.filter(({ index, peerId }) => (this.#core?.has(index) ?? true) && peerId !== liar)
  }

  peerIdOf(index: number): string {
    return this.#peerIds[index] as string
  }

  send(from: number, link: number, bytes: Uint8Array): void {
    this.framesSent += 1
    this.bytesSent += bytes.length
    this.#trace.text(`${this.schedule.now} ${from} ${link} `)
    this.#trace.bytes(bytes)
    for (const found of checkFrame(this, this.#gateway(from), bytes)) this.report(found)
    const promises = promisesOf(bytes)
    for (const found of promises ? this.#spreading.sent(this.#gateway(from), link, promises) : []) this.report(found)
    this.#network.send(from, link, bytes)
  }

  closeLink(from: number, link: number, reason: string): void {
    if (reason.startsWith('malformed') && this.liar === undefined)
      this.report(`I15 gateway ${from} was sent a ${reason}`)
    this.#network.close(link)
  }

  acknowledged(write: Acknowledged): void {
    this.acknowledgements.push(write)
  }

  event(from: number, name: string, fields: object): void {
    this.#trace.text(`${this.schedule.now} ${from} ${name} ${JSON.stringify(fields)}`)
    if (name === 'batch-deferred') {
      this.note('batch deferred')
      const { feed } = fields as { readonly feed: string }
      this.#spreading.deferred(this.#gateway(from), latin1(Buffer.from(feed, 'hex')))
    }
    if (name === 'resync') this.note('resync')
    if (name === 'compacted') this.note('checkpoint signed')
    if (name === 'compacted' && 'dropsTombstones' in fields && fields.dropsTombstones) this.note('tombstones collected')
    if (name === 'compacted' && 'again' in fields && Number(fields.again) > 0) this.note('operations told again')
    if (name === 'jumped') this.note('feed jumped')
    if (name === 'left') this.note('places left')
    // A greeting that was under way when its sender stopped says what that one kept before.
    if (name === 'peer-up' && 'peerId' in fields && this.#network.isWhole(this.#heardOver))
      this.unheard.delete(`${from} ${String(fields.peerId)}`)
    if (name === 'fork' && 'isProven' in fields) this.note('fork proven')
    if (name === 'sealed') {
      this.note('feed cut')
      const {
        feed,
        from: cut,
        head,
      } = fields as { readonly feed: string; readonly from: number; readonly head: number }
      // What goes with a void checkpoint it had jumped by comes again, if it isn't void, and isn't there until then.
      const first = Math.min(cut, head + 1)
      this.cutFrom.set(feed, Math.min(this.cutFrom.get(feed) ?? first, first))
    }
    if (name === 'sealed' || name === 'settled') {
      const { feed, cut } = fields as { readonly feed: string; readonly cut: number }
      this.#cuts.set(`${this.#gateway(from).boots} ${from} ${feed}`, cut)
    }
    if (name === 'branch-cut') this.note('own branch cut')
    // A seal may be gone again when that is looked at next: its author has taken it back, or is void there itself.
    if ((name === 'sealed' || name === 'branch-cut') && 'feed' in fields)
      this.#progress.get(this.#gateway(from))?.forget(String(fields.feed))
    if (name === 'batch-refused' && 'peerId' in fields && 'why' in fields && fields.why === 'shape')
      this.note('damaged batch refused')
    if (name === 'diverged') this.note('divergence found')
    if (name === 'documents-mended') this.note('documents mended')
    if (name === 'batch-damaged') this.note('damaged batch found')
    if (name === 'clock-ahead') this.note('clock found ahead')
    if (name === 'reissued') this.note('own writes made again')
    if (name === 'mended') this.note('holes mended')
  }

  stored(gateway: SimulatedGateway, feed: Feed, batch: Batch, ops: Ops | null): void {
    const cut = this.cutOf(gateway, feed)
    // Who lies goes on with its own feed as it likes.
    if (batch.header.seq >= cut && gateway !== this.byzantine?.gateway)
      this.report(`I14 gateway ${gateway.index} took batch ${batch.header.seq}, which is void`)
    if (!gateway.keeps(feed)) this.report(`I25 gateway ${gateway.index} took a batch of what it doesn't keep`)
    if (feed.origin !== gateway.peerId) return this.#storedElsewhere(gateway, feed, batch)
    // What a copy of its card goes on with it takes, whatever its stamp. A new member writes behind the stamp of its admission.
    const isByIt = equal(feed.descriptor.incarnation, gateway.incarnation)
    const aheadMs = msOfHlc(batch.header.hlc) - Math.max(gateway.latestWallMs, msOfHlc(gateway.since))
    if (gateway.trust > 0 && isByIt && aheadMs > FUTURE_MS) {
      this.report(`I16 gateway ${gateway.index} stamped a batch ${aheadMs} ms after its clock`)
    }
    this.#noteIssued(feed, batch, ops)
  }

  #noteIssued(feed: Feed, batch: Batch, ops: Ops | null): void {
    const batches = this.issued.get(feed.key) ?? { feed, batches: new Map<string, Issued>() }
    this.issued.set(feed.key, batches)
    const atMs = batches.batches.get(latin1(batch.hash))?.atMs ?? this.schedule.now
    batches.batches.set(latin1(batch.hash), { batch, ops, atMs })
  }

  /** What others hold is what the author made, with its signature. */
  #storedElsewhere(gateway: SimulatedGateway, feed: Feed, batch: Batch): void {
    const issued = this.issued.get(feed.key)?.batches.get(latin1(batch.hash))
    const isSame = issued !== undefined && Buffer.from(issued.batch.bytes).equals(batch.bytes)
    if (!isSame) this.report(`I14 gateway ${gateway.index} took batch ${batch.header.seq} that its author never made`)
  }

  /** What is declared dead has been overtaken: nothing that anybody sees may change when it goes. */
  dropped(
    gateway: SimulatedGateway,
    before: ReadonlyMap<string, string>,
    after: ReadonlyMap<string, string>,
    mayChange: boolean,
  ): void {
    const { index } = gateway
    this.note('dead batches dropped')
    // What overtook them may be among what rotted, or was altered.
    if (mayChange) return
    const isSeen = (cell: string): boolean => !gateway.hasLeft(cell)
    for (const [cell, value] of before) {
      if (!isSeen(cell)) continue
      const now = after.get(cell)
      const how = `gateway ${index}: it was ${value}, is ${now}`
      if (now !== value) this.changedByDrops.set(cell, { how, gone: now === undefined ? stampShown(value) : null })
    }
    for (const [cell, value] of after) {
      if (!before.has(cell) && isSeen(cell))
        this.changedByDrops.set(cell, { how: `gateway ${index}: it is back with ${value}`, gone: null })
    }
  }

  shown(gateway: SimulatedGateway, name: string, mayGoBack: boolean): void {
    const { index, disk } = gateway
    const reads = this.#reads.get(disk) ?? new Reads()
    this.#reads.set(disk, reads)
    for (const { cell, how, gone } of reads.changed(disk, name, mayGoBack || gateway.hasLeft(name)))
      this.wentBack.set(cell, { how: `gateway ${index}: ${how}`, gone })
  }

  isSigned(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    return equal(fakeSignature(publicKey, message), signature)
  }

  members(): readonly Writer[] {
    return this.#members
  }

  stopped(from: number): void {
    this.#network.cutAll(from)
  }

  /** What it knows of the others is what it had saved. */
  started(index: number): void {
    for (const peerId of this.#changed) this.unheard.add(`${index} ${peerId}`)
  }

  report(violation: string): void {
    if (this.seen.length < SEEN_MAX) this.seen.push(violation)
  }

  note(what: Sometimes): void {
    this.sometimes.set(what, (this.sometimes.get(what) ?? 0) + 1)
  }

  noteFault(fault: Fault): void {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1)
  }

  #addGateway(index: number, key: Uint8Array = fakeKey(this.scenario.seed, index)): SimulatedGateway {
    this.#peerIds.push(peerIdOf(key))
    // Most clocks are right; some boards boot in 1970 and don't believe themselves.
    const isRight = this.random() < 0.8
    const offset = isRight ? randomInteger(this.random, -2_000, 2_000) : -START_MS
    const gateway = new SimulatedGateway(this, index, key, START_MS + offset, isRight ? 2 : 0)
    this.gateways.push(gateway)
    for (const removal of this.removals) gateway.authority.addRemoval(removal)
    return gateway
  }

  /** A member from now on; all that it writes is stamped later. */
  #admit(gateway: SimulatedGateway, since: number): void {
    this.#members.push({ origin: gateway.peerId, since })
    gateway.since = since
    gateway.start()
  }

  /** In some runs the last gateway comes when the others have been at work for a while. */
  #lateMember(): SimulatedGateway | null {
    const late = this.#gateway(this.scenario.gateways - 1)
    if (this.scenario.gateways < 3 || this.random() < 0.7) return null
    this.schedule.at(randomInteger(this.random, 30_000, this.scenario.minutes * 60_000), () => {
      this.noteFault('late member')
      // Of whom is down, or ahead, only what is stored tells what time it was.
      const stamps = this.gateways.flatMap(({ engine, disk }) => [
        engine?.view.clock ?? 0,
        ...disk.heads().map(({ hlc }) => hlc),
      ])
      this.#admit(late, Math.max(0, ...stamps.filter(isSane)) + 1)
      this.#planWrites(late, this.schedule.now)
    })
    return late
  }

  /** A line keeps everyone connected; chords make several ways. */
  #edges(): [number, number][] {
    const edges: [number, number][] = []
    const count = this.scenario.gateways
    for (let i = 1; i < count; i++) edges.push([randomInteger(this.random, Math.max(0, i - 2), i - 1), i])
    for (let i = 0; i < count; i++) {
      const a = randomInteger(this.random, 0, count - 1)
      const b = randomInteger(this.random, 0, count - 1)
      if (a !== b && !edges.some(([x, y]) => (x === a && y === b) || (x === b && y === a))) edges.push([a, b])
    }
    return edges
  }

  #planWrites(gateway: SimulatedGateway, from: number): void {
    const end = this.scenario.minutes * 60_000
    const count = randomInteger(this.random, WRITES_MIN, this.scenario.writesMax)
    for (let i = 0; i < count; i++) {
      this.schedule.at(randomInteger(this.random, from, end), () => this.#write(gateway))
    }
  }

  #write(gateway: SimulatedGateway): void {
    const [often, most] = this.#isShort ? [0.7, 6] : [0.1, 150]
    const burst = this.random() < often ? randomInteger(this.random, Math.ceil(most / 3), most) : 1
    for (let i = 0; i < burst; i++) this.#writeOne(gateway)
  }

  #writeOne(gateway: SimulatedGateway): void {
    this.#writeTo(gateway, this.#isShort ? (this.places[0] as Place) : this.#pick(this.places))
  }

  #writeTo(gateway: SimulatedGateway, place: Place): void {
    const op = drawOp(this.random, this.#isShort ? DEADLY_MIX : USUAL_MIX)
    // Who writes somewhere keeps it.
    if (!gateway.keepsAt(place) || !gateway.readsAt(place)) return
    const name = placeOf(place)
    if (op.kind === 'count') this.counted.set(name, (this.counted.get(name) ?? 0) + 1)
    gateway.write(place.collection, op, place.partition)
  }

  #planFaults(): void {
    const end = this.scenario.minutes * 60_000
    const faults = [
      () => this.#network.cutSome(),
      () => this.#network.deafen(),
      () => this.#network.partition(this.gateways.length),
      () => this.#crashSome(),
      () => this.#fillDisk(),
      () => this.#failCommits(),
      () => this.#jumpClock(),
      ...(this.scenario.forks === true ? [() => this.#snapshot(), () => this.#restore(), () => this.#clone()] : []),
      ...(this.#hasInterests ? [() => this.#changeInterest(), () => this.#changeInterest()] : []),
      ...(this.byzantine === null ? [] : [() => this.byzantine?.writeFalseBeacon()]),
      ...(this.scenario.byzantine === 'all' ? [() => this.#appendFalsely()] : []),
    ]
    const count = randomInteger(this.random, 3, 10) + this.scenario.gateways
    for (let i = 0; i < count; i++) {
      this.schedule.at(randomInteger(this.random, 0, end), () => this.#pick(faults)())
    }
    for (let i = 0; this.#isShort && i < 12 * this.scenario.gateways; i++) {
      this.schedule.at(randomInteger(this.random, 0, end), () => this.#network.cutSome())
    }
    if (this.#hasRemovals) this.schedule.at(randomInteger(this.random, end >> 2, end >> 1), () => this.#remove())
  }

  #crashSome(): void {
    const gateway = this.#pick(this.gateways)
    if (!gateway.isUp) return
    // Often in the middle of a burst, when the disk has not taken everything yet.
    if (this.random() < 0.5) for (let i = 0; i < 100; i++) this.#writeOne(gateway)
    this.noteFault(gateway.disk.cached > 0 ? 'power cut with unflushed appends' : 'power cut')
    gateway.crash()
    this.#network.cutAll(gateway.index)
    const draw = this.random()
    // What only its author holds, for all others wait with it, nobody else can mend.
    const mayDamage = this.scenario.overruns !== true
    if (mayDamage && draw < 0.3) this.#rot(gateway)
    else if (mayDamage && draw < 0.5) this.#spoil(gateway)
    this.schedule.after(randomInteger(this.random, 100, 30_000), () => {
      this.#restart(gateway)
    })
  }

  /** What the Byzantine member goes on with after a power cut is not so. */
  #appendFalsely(): void {
    if (this.byzantine === null || !this.byzantine.gateway.isUp) return
    const { gateway } = this.byzantine
    gateway.crash()
    this.#network.cutAll(gateway.index)
    this.byzantine.appendFalseCheckpoint()
    this.schedule.after(randomInteger(this.random, 100, 10_000), () => this.#restart(gateway))
  }

  /** Whether beacons and what members say of sealed feeds turn on cards too. */
  get #damagesSystem(): boolean {
    return this.scenario.seed % 4 === 1
  }

  /** Damaged batches were found and taken out; only such as somebody else holds, for nothing else can bring them back. */
  #rot(gateway: SimulatedGateway): void {
    const mayGo = ({ key }: Feed, seq: number): boolean => isOnOthersDisks(this, gateway, key, seq)
    const rotten = gateway.disk.rot(this.random, mayGo, this.#damagesSystem)
    if (rotten > 0) this.noteFault('batches rotted')
  }

  /** Bytes turn in the log, and nobody knows until a batch is wanted. */
  #spoil(gateway: SimulatedGateway): void {
    const mayGo = ({ key }: Feed, seq: number): boolean => isOnOthersDisks(this, gateway, key, seq)
    const spoiled = gateway.disk.spoil(this.random, mayGo, this.#damagesSystem)
    if (spoiled > 0) this.noteFault('batches spoiled')
  }

  /** Documents change on a card, not by a batch, when little will be written over them: only who shows the same batches can tell. */
  #planAlterations(edges: readonly (readonly [number, number])[]): void {
    // Where feeds are sealed, gateways may keep different parts of what is dead: there they compare nothing.
    if (this.scenario.seed % 3 !== 0 || this.scenario.forks === true || this.#hasRemovals || this.byzantine) return
    // Nor is there somebody else with the same everywhere where some keep parts only, or are left alone.
    if (this.#hasInterests || this.#core !== null || this.scenario.overruns === true) return
    // Of its own chance, so that all else happens as without it.
    const random = seededRandom(this.scenario.seed + 1)
    this.schedule.at(this.scenario.minutes * 60_000 - 1, () => {
      const { index, disk } = this.gateways[randomInteger(random, 0, this.scenario.gateways - 1)] as SimulatedGateway
      const others = edges.filter((edge) => edge.includes(index)).map(([a, b]) => this.#gateway(a === index ? b : a))
      // Nor can a neighbour without keys tell; what a card has changed the real store finds by itself, but here nothing reads all again.
      const canTell = (place: Place): boolean => others.some((other) => other.readsAt(place))
      if (disk.alter(random, canTell) > 0) this.noteFault('documents altered')
    })
  }

  /** Of its own chance, so that all else happens as without it. Often more than one, or the same again. */
  #planOverruns(): void {
    if (this.scenario.overruns !== true) return
    const { seed, minutes } = this.scenario
    const random = seededRandom(seed + 2)
    const knowing = this.gateways.filter(({ rightTrust }) => rightTrust > 0)
    for (let i = knowing.length === 0 ? 0 : randomInteger(random, 1, 3); i > 0; i--) {
      const gateway = knowing[randomInteger(random, 0, knowing.length - 1)] as SimulatedGateway
      const from = randomInteger(random, 0, minutes * 60_000)
      this.schedule.at(from, () => {
        this.noteFault('clock ran ahead')
        gateway.clockBaseMs = AHEAD_MS
        gateway.trust = 2
      })
      this.schedule.at(from + randomInteger(random, 1_000, 60_000), () => gateway.correctClock())
    }
  }

  /** Of its own chance, so that all else happens as without it. */
  #planUpdates(): void {
    if (this.#later === null) return
    const random = seededRandom(this.scenario.seed + 4)
    for (let i = 0; i < UPDATES; i++) {
      this.schedule.at(randomInteger(random, 0, this.scenario.minutes * 60_000), () => this.#update(random))
    }
  }

  #update(random: Random): void {
    if (this.#later?.gateway.isUp !== true) return
    const { gateway } = this.#later
    const clock = gateway.engine?.view.clock ?? 0
    gateway.crash()
    this.#network.cutAll(gateway.index)
    if (this.#later.write(clock)) this.noteFault('later version put back')
    this.schedule.after(randomInteger(random, 100, 10_000), () => this.#restart(gateway))
  }

  #fillDisk(): void {
    this.noteFault('disk full')
    const gateway = this.#pick(this.gateways)
    gateway.isDiskFull = true
    this.schedule.after(randomInteger(this.random, 100, 20_000), () => {
      gateway.isDiskFull = false
    })
  }

  /** Some of the next commits fail, others between them don't. */
  #failCommits(): void {
    this.noteFault('commit failed')
    const gateway = this.#pick(this.gateways)
    gateway.failRate = 0.3
    this.schedule.after(randomInteger(this.random, 1_000, 10_000), () => {
      gateway.failRate = 0
    })
  }

  /** A copy of a card, to be put back later. */
  #snapshot(): void {
    const gateway = this.#pick(this.gateways)
    this.#snapshots.set(gateway, { disk: gateway.disk.copy(gateway.watch), incarnation: gateway.incarnation })
  }

  /** An old copy is put back; whether the gateway notices at once depends on where its mark was. */
  #restore(): void {
    const [found] = [...this.#snapshots].filter(([gateway]) => gateway.isUp && !isNeeded(this, gateway))
    if (!found) return
    const [gateway, { disk, incarnation }] = found
    this.#snapshots.delete(gateway)
    const isNoticed = this.random() < 0.5
    this.noteFault(isNoticed ? 'restored copy' : 'restored copy unnoticed')
    if (isNoticed) gateway.mark = Math.max(gateway.mark, gateway.engine?.view.clock ?? 0)
    gateway.crash()
    this.stopped(gateway.index)
    this.copied.add(gateway.peerId)
    this.putBack.push(gateway.disk)
    this.confirmed.forget(this, gateway)
    gateway.disk = disk
    gateway.incarnation = incarnation
    if (isNoticed) gateway.newIncarnation()
    // It may be of a time when it was ahead, and goes on from there until it is set back.
    else gateway.latestWallMs = Math.max(gateway.latestWallMs, ...disk.heads().map(({ hlc }) => msOfHlc(hlc)))
    this.schedule.after(randomInteger(this.random, 50, 10_000), () => {
      this.#restart(gateway)
    })
  }

  /** A second gateway runs from a copy of the card, with the same key and the same incarnation. */
  #clone(): void {
    if (this.gateways.length > this.scenario.gateways || this.random() < 0.5) return
    const original = this.#pick(this.present)
    if (!this.#members.some(({ origin }) => origin === original.peerId)) return
    // Who keeps all carries it for the others: what only it and its copy keep neither would ever have of the other.
    if (this.#hasInterests && original.index === 0) return
    this.noteFault('cloned gateway')
    this.copied.add(original.peerId)
    const index = this.gateways.length
    const clone = this.#addGateway(index, original.publicKey)
    clone.disk = original.disk.copy(clone.watch)
    clone.incarnation = original.incarnation
    clone.interest = original.interest
    clone.hasKeys = original.hasKeys
    clone.since = original.since
    clone.mark = Math.max(original.since, ...clone.disk.heads().map(({ hlc }) => hlc))
    // What it is a copy of may have been ahead.
    clone.latestWallMs = Math.max(original.latestWallMs, msOfHlc(clone.mark))
    clone.start()
    const others = this.present.filter((other) => other.index < index && other !== original)
    // As of its original: who keeps all carries it for the others.
    if (this.#hasInterests) this.#network.dial(0, index)
    for (let i = 0; i < 2; i++) this.#network.dial(this.#pick(others).index, index)
    this.#planWrites(clone, this.schedule.now)
  }

  /**
   * A member is gone, or its card was stolen (protocol D5): the others close it, say what they hold of it, and its feeds
   * are sealed behind the most of that; of a stolen one perhaps before.
   */
  #remove(): void {
    const able = this.present.filter(({ isUp, peerId }) => {
      return isUp && this.present.filter((other) => other.peerId === peerId).length === 1
    })
    if (able.length < 3) return
    // Who keeps all carries it for the others.
    const gone = this.#pick(this.#hasInterests ? able.filter(({ index }) => index > 0) : able)
    if (isNeeded(this, gone)) return
    const isRevoked = this.random() < 0.5
    this.noteFault(isRevoked ? 'member revoked' : 'member retired')
    gone.isGone = true
    gone.crash()
    this.#network.cutAll(gone.index)
    for (const { authority } of this.present) authority.close(gone.peerId)
    // The others still reach each other without it.
    this.#dialInRow(this.present)
    this.schedule.after(randomInteger(this.random, 100, 30_000), () => this.#sealAll(gone, isRevoked))
  }

  #sealAll({ peerId: origin }: SimulatedGateway, isRevoked: boolean): void {
    const answerOf = ({ disk }: SimulatedGateway): Holding[] => {
      return disk.heads().flatMap(({ feed, seq, hash }) => {
        return feed.origin === origin && seq > 0 ? [{ feedId: feed.id, seq, hash8: hash.slice(0, 8) }] : []
      })
    }
    const answers = this.present.map(answerOf)
    if (!isRevoked) this.#noteHeldOfLost(this.healed.map(answerOf))
    const bound = new Set<string>()
    for (const { feed } of this.issued.values()) {
      const place = { collection: SELF_COLLECTION, partition: origin }
      if (this.present.some(({ disk }) => disk.document(place, HELD_PREFIX + hex(feed.id)))) bound.add(feed.key)
    }
    const seals = sealsAbove(answers)
    if (isRevoked) for (const [key, seq] of seals) seals.set(key, randomInteger(this.random, 1, seq))
    const removal: Removal = { origin, reason: isRevoked ? 'revoke' : 'retire', seals, bound }
    this.removals.push(removal)
    for (const gateway of this.gateways) {
      this.schedule.after(randomInteger(this.random, 10, 20_000), () => gateway.learnRemoval(removal))
    }
  }

  #noteHeldOfLost(answers: readonly (readonly Holding[])[]): void {
    for (const { feedId, seq } of answers.flat()) {
      const key = latin1(feedId)
      this.heldOfLost.set(key, Math.max(this.heldOfLost.get(key) ?? 0, seq))
    }
  }

  /** Forward by at most ten minutes, so that a deferred batch's time comes within the run. */
  #jumpClock(): void {
    this.noteFault('clock jump')
    const gateway = this.#pick(this.gateways)
    gateway.clockBaseMs = gateway.rightClockMs + randomInteger(this.random, -3_600_000, 600_000)
  }

  #heal(): void {
    const core = this.healed
    for (const gateway of this.present) if (this.#core?.has(gateway.index) === false) this.#abandon(gateway)
    this.#network.heal(this.#core)
    // Whom a gateway without a clock asks what time it is must know: of two that differ nobody can tell which one is right.
    for (const gateway of this.present) gateway.correctClock()
    for (const gateway of core) {
      gateway.isDiskFull = false
      gateway.failRate = 0
      this.#restart(gateway)
    }
    this.#tellTime()
    // The others still reach each other without those that are not.
    if (this.#core !== null || this.byzantine !== null) this.#dialInRow(core)
  }

  /** Each with one before it; nobody is linked with a copy of its own card. */
  #dialInRow(gateways: readonly SimulatedGateway[]): void {
    gateways.forEach((gateway, i) => {
      const before = gateways.slice(0, i).findLast(({ peerId }) => peerId !== gateway.peerId)
      if (before) this.#network.dial(before.index, gateway.index)
    })
  }

  /**
   * Who took over a wrong time and has no clock must be linked with one that has, or its operator sets it: the one that it had asked may
   * be removed or lost, and it goes by its word for a day.
   */
  #tellTime(): void {
    const knowing = this.healed.filter(({ rightTrust }) => rightTrust > 0)
    const isOverrun = this.scenario.overruns === true && knowing.length > 0
    for (const gateway of this.healed) {
      // Nobody is linked with a copy of its own card.
      const other = knowing.find(({ peerId }) => peerId !== gateway.peerId)
      if (gateway.rightTrust > 0 || !(isOverrun || this.#isMisled(gateway))) continue
      if (other !== undefined) this.#network.dial(other.index, gateway.index)
      else gateway.setClock(START_MS)
    }
  }

  /** It believes a time that is so far from the right one that it would take right stamps for the future's, or others its own. */
  #isMisled(gateway: SimulatedGateway): boolean {
    const time = gateway.engine?.time(gateway.now())
    if (time === undefined || time.trust === 0) return false
    return Math.abs(time.wallMs - START_MS - this.schedule.now) > FUTURE_MS
  }

  /** It never comes back: its power is cut, or nothing gets through to it. */
  #abandon(gateway: SimulatedGateway): void {
    const isDead = gateway.index % 2 === 0
    this.noteFault(isDead ? 'gateway dead for good' : 'gateway cut off for good')
    if (!isDead) return
    this.#dead.add(gateway)
    gateway.crash()
    this.#network.cutAll(gateway.index)
  }

  #restart(gateway: SimulatedGateway): void {
    if (!gateway.isUp && !gateway.isGone && !this.#dead.has(gateway)) gateway.start()
  }

  #gateway(index: number): SimulatedGateway {
    return this.gateways[index] as SimulatedGateway
  }

  #pick<T>(items: readonly T[]): T {
    return items[randomInteger(this.random, 0, items.length - 1)] as T
  }
}

/** Whether a right clock may have given the stamp. */
export function isSane(hlc: Hlc): boolean {
  return msOfHlc(hlc) < SANE_MS
}
