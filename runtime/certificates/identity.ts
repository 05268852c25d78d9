import { createPrivateKey, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { pinOf } from '../crypto/pin.ts'

/**
 * What this gateway's TLS listeners show, made by itself. It is a second coat around links and the first one around
 * devices' logins, and never says who a gateway is: that the handshake inside proves (protocol D21).
 */
export interface TlsIdentity {
  /** PEM: the private key, and the certificate with that of its authority. */
  readonly key: string
  readonly certificate: string
  /** PEM: the certificate that devices are given to trust; it stays when the gateway's addresses change. */
  readonly authority: string
  /** SHA-256 of the authority's certificate as OpenSSL prints it: `AA:BB:…`. */
  readonly fingerprint: string
  /** SHA-256 of the public key (RFC 7469 2.4), 32 bytes: what neighbours remember. */
  readonly pin: Uint8Array
}

/** Where it is kept: one text, written durably. Null when there is none yet. */
export interface TlsFile {
  read(): string | null
  write(text: string): void
}

export interface TlsOptions {
  readonly file: TlsFile
  readonly peerId: string
  /** Host names and IP addresses by which clients may reach this gateway. */
  readonly names: readonly string[]
  /** What was kept can't be used, and is made anew. */
  readonly onDamaged: (reason: string) => void
}

/**
 * The kept one, if it is whole and names all of `names`; else its certificate is made anew under the same authority, and
 * with the same key, so that nobody who trusts it has to be told. Only when nothing can be read all of it is made anew.
 */
export async function tlsIdentity(options: TlsOptions): Promise<TlsIdentity> {
  const kept = readKept(options)
  if (kept?.server && areNamed(options.names, kept.server.certificate)) return identityOf(kept.authority, kept.server)
  const { makeAuthority, makeServer } = await import('./make.ts')
  const authority = kept?.authority ?? (await makeAuthority(`Marram gateway ${options.peerId}`))
  const names = {
    hosts: options.names.filter((name) => !isIP(name)),
    addresses: options.names.filter((name) => isIP(name)),
  }
  const server = await makeServer(options.peerId, names, authority, kept?.server?.key ?? null)
  options.file.write(textOf(authority, server))
  return identityOf(authority, server)
}

/** The authority's certificate in what `tlsIdentity` has written, in PEM with its fingerprint; null when there is none. */
export function authorityIn(text: string): { readonly pem: string; readonly fingerprint: string } | null {
  const [pem] = text.match(CERTIFICATE) ?? []
  const certificate = pem === undefined ? null : certificateOf(pem)
  return pem !== undefined && certificate ? { pem: `${pem}\n`, fingerprint: certificate.fingerprint256 } : null
}

interface Pair {
  readonly key: string
  readonly certificate: string
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g
const KEY = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/g

function textOf(authority: Pair, server: Pair): string {
  return [authority.certificate, authority.key, server.certificate, server.key].map((pem) => `${pem.trim()}\n`).join('')
}

function readKept({ file, onDamaged }: TlsOptions): { readonly authority: Pair; readonly server: Pair | null } | null {
  const text = file.read()
  if (text === null) return null
  const [authority, server] = pairsIn(text)
  if (authority && isPair(authority)) {
    const isOurs = server !== undefined && isPair(server) && isIssuedBy(server.certificate, authority.certificate)
    return { authority, server: isOurs ? server : null }
  }
  onDamaged('its key and certificate do not belong together')
  return null
}

function pairsIn(text: string): Pair[] {
  const keys = text.match(KEY) ?? []
  return (text.match(CERTIFICATE) ?? []).map((certificate, i) => ({ certificate, key: keys[i] ?? '' }))
}

function isPair({ key, certificate }: Pair): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))
  } catch {
    // Node throws for what is no key or no certificate.
    return false
  }
}

function isIssuedBy(certificate: string, authority: string): boolean {
  return new X509Certificate(certificate).verify(new X509Certificate(authority).publicKey)
}

function areNamed(names: readonly string[], pem: string): boolean {
  const certificate = new X509Certificate(pem)
  return names.every((name) => (isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined)
}

function certificateOf(pem: string): X509Certificate | null {
  try {
    return new X509Certificate(pem)
  } catch {
    return null
  }
}

function identityOf(authority: Pair, server: Pair): TlsIdentity {
  return {
    key: server.key,
    certificate: `${server.certificate.trim()}\n${authority.certificate.trim()}\n`,
    authority: `${authority.certificate.trim()}\n`,
    fingerprint: new X509Certificate(authority.certificate).fingerprint256,
    pin: pinOf(new X509Certificate(server.certificate)),
  }
}
