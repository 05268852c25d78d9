/**
 * HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305, for one message each:
 * the encapsulated key of 32 bytes, then the ciphertext and its tag of 16. Loaded only where something is sealed or opened.
 */
export interface Binding {
  /** What the message is for, and what it is about: both sides must say the same. */
  readonly info: Uint8Array
  readonly aad: Uint8Array
}

const ENCAPSULATED = 32

/** Only the owner of `publicKey` (X25519, 32 bytes) can open it. Null when that is no key. `ikm`: for test vectors alone. */
export async function sealTo(
  publicKey: Uint8Array,
  { info, aad }: Binding,
  message: Uint8Array,
  ikm?: Uint8Array,
): Promise<Uint8Array | null> {
  const suite = await loadSuite()
  try {
    const recipientPublicKey = await suite.kem.deserializePublicKey(exact(publicKey))
    const ekm = ikm && exact(ikm)
    const { enc, ct } = await suite.seal(
      { recipientPublicKey, info: exact(info), ...(ekm && { ekm }) },
      exact(message),
      exact(aad),
    )
    return new Uint8Array([...new Uint8Array(enc), ...new Uint8Array(ct)])
  } catch {
    // A key of small order, or of another length.
    return null
  }
}

/** Null when it was sealed to another key or under another binding, or is damaged. */
export async function openSealed(
  secretKey: Uint8Array,
  { info, aad }: Binding,
  sealed: Uint8Array,
): Promise<Uint8Array | null> {
  const suite = await loadSuite()
  try {
    const recipientKey = await suite.kem.deserializePrivateKey(exact(secretKey))
    const enc = exact(sealed.subarray(0, ENCAPSULATED))
    const opened = await suite.open(
      { recipientKey, enc, info: exact(info) },
      exact(sealed.subarray(ENCAPSULATED)),
      exact(aad),
    )
    return new Uint8Array(opened)
  } catch {
    // The library says no more than that it does not open.
    return null
  }
}

async function loadSuite(): Promise<import('@hpke/core').CipherSuite> {
  const { CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } = await import('@hpke/core')
  const { Chacha20Poly1305 } = await import('@hpke/chacha20poly1305')
  return new CipherSuite({
    kem: new DhkemX25519HkdfSha256(),
    kdf: new HkdfSha256(),
    aead: new Chacha20Poly1305(),
  })
}

/** The library takes whole buffers. */
function exact(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer
}
