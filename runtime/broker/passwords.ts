import { createHmac, randomBytes } from 'node:crypto'
import { BROKER_LIMITS } from '../base/limits.ts'
import { verifyPassword } from './users.ts'

/**
 * Checks passwords without letting logins take the machine: few are hashed at once, because that is slow on purpose and
 * runs on the threads that write the disk, and what was right once is remembered under a key that no one else knows, so
 * that a thousand devices that come back together cost a thousand digests.
 */
export class PasswordChecker {
  readonly #key = randomBytes(32)
  /** Digests of (stored, password) that were right, the one used last at the end. */
  readonly #known = new Set<string>()
  readonly #waiting: (() => void)[] = []
  #running = 0

  /** `busy`: too many wait already, nothing was checked. */
  async check(password: Uint8Array, stored: string): Promise<'right' | 'wrong' | 'busy'> {
    const digest = createHmac('sha256', this.#key).update(`${stored}\n`).update(password).digest('base64')
    if (this.#known.delete(digest)) {
      this.#known.add(digest)
      return 'right'
    }
    if (this.#waiting.length >= BROKER_LIMITS.passwordsWaitingMax) return 'busy'
    await this.#turn()
    try {
      if (!(await verifyPassword(password, stored))) return 'wrong'
      this.#remember(digest)
      return 'right'
    } finally {
      this.#running -= 1
      this.#waiting.shift()?.()
    }
  }

  async #turn(): Promise<void> {
    if (this.#running >= BROKER_LIMITS.passwordsAtOnce)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#running += 1
  }

  #remember(digest: string): void {
    this.#known.add(digest)
    for (const oldest of this.#known) {
      if (this.#known.size <= BROKER_LIMITS.passwordsKnownMax) return
      this.#known.delete(oldest)
    }
  }
}
