import { createHmac, createPublicKey, diffieHellman, randomBytes } from 'node:crypto'
import { concat, utf8 } from '../base/bytes.ts'
import { open, seal, TAG } from './aead.ts'
import { sha256 } from './hash.ts'
import { deviceKeysFrom, privateKeyOf } from './identity.ts'

/**
 * Noise_XX_25519_ChaChaPoly_SHA256 (The Noise Protocol Framework, revision 34), without I/O: each side writes and reads
 * messages in turn, initiator first. `read` gives the payload, or null when the message is not what it must be; a
 * handshake that failed is dead.
 */
export interface Handshake {
  /** Null when what was read so far leaves no secret to share (a key of small order). */
  write(payload: Uint8Array): Uint8Array | null
  read(message: Uint8Array): Uint8Array | null
  readonly isComplete: boolean
  /** The other side's static X25519 key, once it was received. */
  readonly remoteStatic: Uint8Array | null
  /** Binds signatures to this handshake; final once it is complete. */
  readonly handshakeHash: Uint8Array
  /** Keys of the two directions; only when complete. */
  split(): { readonly send: Uint8Array; readonly receive: Uint8Array }
}

export interface LinkKeyPair {
  readonly secretKey: Uint8Array
  readonly publicKey: Uint8Array
}

export interface HandshakeOptions {
  readonly role: 'initiator' | 'responder'
  readonly prologue: Uint8Array
  readonly staticKeys: LinkKeyPair
  /** For test vectors alone: a fresh one is made otherwise. */
  readonly ephemeral?: LinkKeyPair
}

const PROTOCOL = utf8('Noise_XX_25519_ChaChaPoly_SHA256')
const KEY = 32

type Token = 'e' | 's' | 'ee' | 'es' | 'se'
/** XX: -> e, <- e ee s es, -> s se. */
const PATTERN: readonly (readonly Token[])[] = [['e'], ['e', 'ee', 's', 'es'], ['s', 'se']]

export function createHandshake(options: HandshakeOptions): Handshake {
  return new XX(options)
}

class XX implements Handshake {
  readonly #isInitiator: boolean
  readonly #symmetric: SymmetricState
  readonly #s: LinkKeyPair
  readonly #e: LinkKeyPair
  #rs: Uint8Array | null = null
  #re: Uint8Array | null = null
  #step = 0
  #isDead = false

  constructor({ role, prologue, staticKeys, ephemeral }: HandshakeOptions) {
    this.#isInitiator = role === 'initiator'
    this.#s = staticKeys
    this.#e = ephemeral ?? freshKeys()
    this.#symmetric = new SymmetricState(PROTOCOL)
    this.#symmetric.mixHash(prologue)
  }

  get isComplete(): boolean {
    return this.#step === PATTERN.length && !this.#isDead
  }

  get remoteStatic(): Uint8Array | null {
    return this.#rs
  }

  get handshakeHash(): Uint8Array {
    return this.#symmetric.hash
  }

  write(payload: Uint8Array): Uint8Array | null {
    return this.#unlessRefused(() => this.#write(payload))
  }

  read(message: Uint8Array): Uint8Array | null {
    return this.#unlessRefused(() => this.#read(message))
  }

  #unlessRefused(act: () => Uint8Array): Uint8Array | null {
    try {
      return act()
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      this.#isDead = true
      return null
    }
  }

  #write(payload: Uint8Array): Uint8Array {
    const parts: Uint8Array[] = []
    for (const token of this.#next(true)) {
      if (token === 'e') {
        parts.push(this.#e.publicKey)
        this.#symmetric.mixHash(this.#e.publicKey)
      } else if (token === 's') parts.push(this.#symmetric.encryptAndHash(this.#s.publicKey))
      else this.#mix(token)
    }
    parts.push(this.#symmetric.encryptAndHash(payload))
    return concat(...parts)
  }

  split(): { readonly send: Uint8Array; readonly receive: Uint8Array } {
    if (!this.isComplete) throw new Error('Assertion failed: the handshake is complete')
    const [first, second] = this.#symmetric.split()
    return this.#isInitiator ? { send: first, receive: second } : { send: second, receive: first }
  }

  #read(message: Uint8Array): Uint8Array {
    let rest = message
    const take = (length: number): Uint8Array => {
      if (rest.length < length) throw new Refused()
      const part = rest.slice(0, length)
      rest = rest.subarray(length)
      return part
    }
    for (const token of this.#next(false)) {
      if (token === 'e') {
        this.#re = take(KEY)
        this.#symmetric.mixHash(this.#re)
      } else if (token === 's') this.#rs = this.#symmetric.decryptAndHash(take(KEY + TAG))
      else this.#mix(token)
    }
    return this.#symmetric.decryptAndHash(rest)
  }

  /** The tokens of the next message, which must be ours to write (or theirs to read). */
  #next(isWriting: boolean): readonly Token[] {
    const tokens = PATTERN[this.#step]
    const isOurTurn = (this.#step % 2 === 0) === this.#isInitiator
    if (this.#isDead || !tokens || isOurTurn !== isWriting) {
      if (isWriting) throw new Error('Assertion failed: it is our turn in the handshake')
      throw new Refused()
    }
    this.#step += 1
    return tokens
  }

  #mix(token: 'ee' | 'es' | 'se'): void {
    // The first letter is the initiator's key, the second the responder's.
    const [initiator, responder] = token === 'ee' ? ['e', 'e'] : token === 'es' ? ['e', 's'] : ['s', 'e']
    const own = (this.#isInitiator ? initiator : responder) === 'e' ? this.#e : this.#s
    const theirs = (this.#isInitiator ? responder : initiator) === 'e' ? this.#re : this.#rs
    if (!theirs) throw new Refused()
    this.#symmetric.mixKey(sharedSecret(own.secretKey, theirs))
  }
}

class Refused extends Error {}

class SymmetricState {
  hash: Uint8Array
  #chainingKey: Uint8Array
  #key: Uint8Array | null = null
  #nonce = 0

  /** 5.2: a name of up to 32 bytes is padded with zeros, not hashed. */
  constructor(name: Uint8Array) {
    this.hash = name.length <= KEY ? concat(name, new Uint8Array(KEY - name.length)) : sha256(name)
    this.#chainingKey = this.hash
  }

  mixHash(data: Uint8Array): void {
    this.hash = sha256(this.hash, data)
  }

  mixKey(input: Uint8Array): void {
    const [chainingKey, key] = hkdf(this.#chainingKey, input)
    this.#chainingKey = chainingKey
    this.#key = key
    this.#nonce = 0
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const ciphertext = this.#key ? seal(this.#key, nonceBytes(this.#nonce++), this.hash, plaintext) : plaintext
    this.mixHash(ciphertext)
    return ciphertext
  }

  decryptAndHash(ciphertext: Uint8Array): Uint8Array {
    const plaintext = this.#key ? open(this.#key, nonceBytes(this.#nonce++), this.hash, ciphertext) : ciphertext.slice()
    if (!plaintext) throw new Refused()
    this.mixHash(ciphertext)
    return plaintext
  }

  split(): [Uint8Array, Uint8Array] {
    return hkdf(this.#chainingKey, new Uint8Array(0))
  }
}

/** 12.3: 32 bits of zeros, then the counter in little-endian. */
export function nonceBytes(counter: number): Uint8Array {
  const nonce = new Uint8Array(12)
  new DataView(nonce.buffer).setBigUint64(4, BigInt(counter), true)
  return nonce
}

/** 4.3, two outputs. */
function hkdf(chainingKey: Uint8Array, input: Uint8Array): [Uint8Array, Uint8Array] {
  const temporary = hmac(chainingKey, input)
  const first = hmac(temporary, Uint8Array.of(1))
  return [first, hmac(temporary, concat(first, Uint8Array.of(2)))]
}

function hmac(key: Uint8Array, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac('sha256', key).update(data).digest())
}

const SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex')

/** X25519 (RFC 7748). A key of small order gives zeros, which node:crypto refuses; then nothing is accepted. */
function sharedSecret(secretKey: Uint8Array, publicKey: Uint8Array): Uint8Array {
  try {
    const theirs = createPublicKey({ key: Buffer.from(concat(SPKI_PREFIX, publicKey)), format: 'der', type: 'spki' })
    const secret = new Uint8Array(diffieHellman({ privateKey: privateKeyOf('x25519', secretKey), publicKey: theirs }))
    if (secret.some((byte) => byte !== 0)) return secret
  } catch {
    throw new Refused()
  }
  throw new Refused()
}

function freshKeys(): LinkKeyPair {
  const secretKey = new Uint8Array(randomBytes(KEY))
  return { secretKey, publicKey: deviceKeysFrom(secretKey, secretKey).linkPublicKey }
}
