import { codeOf, sentenceOf } from '../base/errors.ts'
import type { SystemClock } from '../clock/system.ts'
import { loadIdentity } from '../identity/identity.ts'
import { takeLock } from '../identity/lock.ts'
import { takeNextKeys } from '../identity/next-keys.ts'
import { checkedProfile, loadProfile } from '../identity/profile-file.ts'
import type { Log } from '../ports/log.ts'
import type { Operations } from '../ports/operations.ts'
import type { DeviceProfile } from '../profile/defaults.ts'
import { Gateway, KEYS_REPLACED, type Ended } from './gateway.ts'

export interface GatewayOptions {
  /** The data directory; it must hold an identity. */
  readonly dir: string
  /** Instead of the kept profile: a file, or a value. */
  readonly profilePath?: string
  readonly profile?: DeviceProfile
  /** `PATH=VALUE`, each over one key of the profile for this run. */
  readonly set?: readonly string[]
  readonly log: Log
  /** Instead of the system's. */
  readonly clock?: SystemClock
}

/**
 * Opens the gateway in `dir`: everything serves when the promise resolves. Throws `no-identity`, `in-use`, `bad-profile`,
 * `port-in-use`, `storage-damaged`, `storage-full`, `storage-io`.
 */
export async function openGateway(options: GatewayOptions): Promise<LastingGateway> {
  return new LastingGateway(options, await openOnce(options))
}

/** A gateway that begins again by itself when its keys were replaced: it has another peer id then. */
export class LastingGateway {
  /** Resolves when it has stopped, by `close` or for good by itself. */
  readonly closed: Promise<Ended>
  readonly #options: GatewayOptions
  #gateway: Gateway
  /** The next one, while it opens. */
  #opening: Promise<Gateway> | null = null
  #isClosing = false

  constructor(options: GatewayOptions, gateway: Gateway) {
    this.#options = options
    this.#gateway = gateway
    this.closed = this.#last()
  }

  get peerId(): string {
    return this.#gateway.peerId
  }

  /** Of the gateway that runs now: not to be kept. */
  get operations(): Operations {
    return this.#gateway.operations
  }

  /** See Gateway. */
  async reload(): Promise<void> {
    const gateway = await (this.#opening ?? this.#gateway)
    await gateway.reload()
  }

  async close(): Promise<void> {
    this.#isClosing = true
    await this.#gateway.close()
    await this.closed
  }

  async #last(): Promise<Ended> {
    for (;;) {
      const ended = await this.#gateway.closed
      if (ended.reason !== KEYS_REPLACED) return ended
      if (this.#isClosing) return { code: null, reason: null }
      try {
        this.#opening = openOnce(this.#options)
        this.#gateway = await this.#opening
      } catch (error) {
        return { code: codeOf(error), reason: sentenceOf(error) }
      } finally {
        this.#opening = null
      }
      if (this.#isClosing) await this.#gateway.close()
    }
  }
}

async function openOnce(options: GatewayOptions): Promise<Gateway> {
  const { dir, profile, profilePath, set, log, clock } = options
  loadIdentity(dir)
  const lock = takeLock(dir)
  try {
    takeNextKeys(dir)
    const identity = loadIdentity(dir)
    const choice = { dir, ...(profilePath !== undefined && { path: profilePath }), ...(set && { set }) }
    const parsed = profile ? checkedProfile(profile, 'profile') : loadProfile(choice)
    const readAgain = (): ReturnType<typeof loadProfile> => loadProfile(choice)
    const gateway = new Gateway({
      dir,
      identity,
      parsed,
      readAgain,
      set: set ?? [],
      lock,
      log,
      ...(clock && { clock }),
    })
    try {
      await gateway.start()
      return gateway
    } catch (error) {
      await gateway.close()
      throw error
    }
  } catch (error) {
    lock.release()
    throw error
  }
}
