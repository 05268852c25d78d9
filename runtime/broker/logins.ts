import { BROKER_LIMITS } from '../base/limits.ts'
import { isLoopback, type BrokerClient, type DeviceLogin, type Login, type Refusal } from './clients.ts'
import type { Neighbours } from './frames.ts'
import { PasswordChecker } from './passwords.ts'
import type { Sessions } from './sessions.ts'
import { isGatewayName, type User, type UserTable } from './users.ts'

export interface LoginRules {
  /** Read at every login, so that a changed users file counts at once. */
  readonly users: () => UserTable
  readonly anonymous: 'loopback' | 'none' | 'all'
}

/** What a CONNECT says about its client. */
interface Connect {
  readonly clientId: string
  readonly clean?: boolean
  readonly username?: string
  readonly will?: unknown
}

const ANONYMOUS: DeviceLogin = { kind: 'device', user: null, publish: null, subscribe: null }
const UNKNOWN: Refusal = { returnCode: 4, reason: 'the name or the password is wrong' }

/** Decides who gets in, and keeps client ids to the logins that use them. */
export class Logins {
  readonly #rules: LoginRules
  readonly #neighbours: Neighbours
  readonly #sessions: Pick<Sessions, 'get' | 'hasRoomFor'>
  readonly #passwords = new PasswordChecker()
  /** Client ids in use, with their users and how many connections use them. */
  readonly #ids = new Map<string, { user: string | null; connections: number }>()

  constructor(rules: LoginRules, neighbours: Neighbours, sessions: Pick<Sessions, 'get' | 'hasRoomFor'>) {
    this.#rules = rules
    this.#neighbours = neighbours
    this.#sessions = sessions
  }

  /** What can be refused before aedes makes anything of a CONNECT. */
  faultOf({ clientId, clean, username, will }: Connect): Refusal | undefined {
    // [MQTT-3.1.3-8] A client without a name can't have a session that lasts.
    if (clientId === '' && clean !== true)
      return { returnCode: 2, reason: 'it has no client id and asks for a lasting session' }
    if (Buffer.byteLength(clientId) > BROKER_LIMITS.clientIdBytesMax)
      return { returnCode: 2, reason: 'its client id is too long' }
    if (username !== undefined && isGatewayName(username) && will)
      return { returnCode: 5, reason: 'a gateway has no will' }
    return undefined
  }

  async decide(client: BrokerClient, user: string | undefined, password: Uint8Array): Promise<Login | Refusal> {
    if (client.refusal) return client.refusal
    const login = await this.#loginOf(client, user, password)
    if ('returnCode' in login) return login
    if (!client.clean && !this.#sessions.hasRoomFor(client.id))
      return { returnCode: 3, reason: 'there are too many sessions' }
    if (this.#claim(client, login.user)) return login
    if (login.kind === 'gateway') this.#neighbours.gone(login.frames)
    return { returnCode: 2, reason: 'its client id belongs to another login' }
  }

  /** What a client may do that isn't here; null when there is no such user. */
  deviceOf(name: string | null): DeviceLogin | null {
    if (name === null) return ANONYMOUS
    const user = this.#rules.users().get(name)
    return user ? deviceLogin(name, user) : null
  }

  async #loginOf(client: BrokerClient, user: string | undefined, password: Uint8Array): Promise<Login | Refusal> {
    if (user === undefined) return this.#anonymous(client)
    if (isGatewayName(user)) return this.#neighbours.admit(client, user, password)
    return this.#device(user, password)
  }

  #anonymous({ conn }: BrokerClient): DeviceLogin | Refusal {
    const { anonymous } = this.#rules
    const isAllowed = anonymous === 'all' || (anonymous === 'loopback' && isLoopback(conn.remoteAddress))
    if (isAllowed) return ANONYMOUS
    return { returnCode: 5, reason: 'a login is needed from there' }
  }

  async #device(name: string, password: Uint8Array): Promise<DeviceLogin | Refusal> {
    const user = this.#rules.users().get(name)
    if (!user) return UNKNOWN
    const verdict = await this.#passwords.check(password, user.password)
    if (verdict === 'busy') return { returnCode: 3, reason: 'too many others are logging in' }
    if (verdict === 'wrong') return UNKNOWN
    return deviceLogin(name, user)
  }

  /**
   * A client id belongs to the login that uses it or whose session it names, so nobody evicts another's client or takes
   * over its session. What belongs to an anonymous client may be taken by a login: owners turn logins on some day.
   */
  #claim({ id, conn, closed }: BrokerClient, user: string | null): boolean {
    const claim = this.#ids.get(id) ?? { user: this.#sessions.get(id)?.owner ?? null, connections: 0 }
    if (closed || (claim.user !== null && claim.user !== user)) return false
    claim.user = user
    claim.connections += 1
    this.#ids.set(id, claim)
    conn.once('close', () => {
      claim.connections -= 1
      if (claim.connections === 0) this.#ids.delete(id)
    })
    return true
  }
}

function deviceLogin(name: string, { topics, publish = [], subscribe = [] }: User): DeviceLogin {
  return { kind: 'device', user: name, publish: [...topics, ...publish], subscribe: [...topics, ...subscribe] }
}
