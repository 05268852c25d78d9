import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

/**
 * Makes X.509 certificates (RFC 5280). This module costs some 20 MiB of memory and is therefore loaded only when one is to
 * be made. P-256 with SHA-256, since TLS libraries of small devices know no Ed25519. They are good from 1970 to 9999, for a
 * board without a clock thinks that it is 1970, and nobody comes to renew them.
 */
export interface KeyPair {
  /** PEM: PKCS #8, and the certificate of its public key. */
  readonly key: string
  readonly certificate: string
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const NOT_BEFORE = new Date(0)
const NOT_AFTER = new Date('9999-12-31T23:59:59Z')
const SERIAL_BYTES = 16

/** What devices are told to trust: it signs this gateway's own certificates and nothing else. */
export async function makeAuthority(name: string): Promise<KeyPair> {
  const keys = await makeKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: nameOf(name),
    notBefore: NOT_BEFORE,
    notAfter: NOT_AFTER,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { key: await pemOf(keys.privateKey), certificate: certificate.toString('pem') }
}

/** What the listeners show. `key`: the one it had before, so that whoever remembers it still knows this gateway. */
export async function makeServer(
  name: string,
  names: { readonly hosts: readonly string[]; readonly addresses: readonly string[] },
  authority: KeyPair,
  key: string | null,
): Promise<KeyPair> {
  const keys = key === null ? await makeKeys() : await keysFrom(key)
  const signer = new x509.X509Certificate(authority.certificate)
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: nameOf(name),
    issuer: signer.subject,
    notBefore: NOT_BEFORE,
    notAfter: NOT_AFTER,
    signingAlgorithm: ALGORITHM,
    signingKey: (await keysFrom(authority.key)).privateKey,
    publicKey: keys.publicKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        ...names.hosts.map((value) => ({ type: 'dns' as const, value })),
        ...names.addresses.map((value) => ({ type: 'ip' as const, value })),
      ]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(signer),
    ],
  })
  return { key: await pemOf(keys.privateKey), certificate: certificate.toString('pem') }
}

function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
}

async function keysFrom(pem: string): Promise<webcrypto.CryptoKeyPair> {
  const [block] = x509.PemConverter.decodeWithHeaders(pem)
  const privateKey = await webcrypto.subtle.importKey('pkcs8', block?.rawData ?? new ArrayBuffer(0), ALGORITHM, true, [
    'sign',
  ])
  const { d: _secret, key_ops: _ops, ...open } = await webcrypto.subtle.exportKey('jwk', privateKey)
  return { privateKey, publicKey: await webcrypto.subtle.importKey('jwk', open, ALGORITHM, true, ['verify']) }
}

async function pemOf(privateKey: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', privateKey), 'PRIVATE KEY')
}

function nameOf(name: string): x509.JsonName {
  return [{ CN: [name] }]
}

/** RFC 5280 4.1.2.2: positive, and at most 20 bytes. */
function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(SERIAL_BYTES))
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40
  return Buffer.from(bytes).toString('hex')
}
