import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { authorityIn, tlsIdentity, type TlsIdentity } from '../../runtime/certificates/identity.ts'

class MemoryFile {
  text: string | null = null
  writes = 0

  read(): string | null {
    return this.text
  }

  write(text: string): void {
    this.text = text
    this.writes += 1
  }
}

const NAMES = ['localhost', 'greenhouse.local', '10.0.0.2', '::1']
const damages: string[] = []

function made(file: MemoryFile, names: readonly string[] = NAMES): Promise<TlsIdentity> {
  return tlsIdentity({ file, peerId: 'a'.repeat(23), names, onDamaged: (reason) => damages.push(reason) })
}

test('a certificate is good for every board, from 1970 to 9999, and names its gateway under its authority', async () => {
  const file = new MemoryFile()
  const { certificate, authority, fingerprint } = await made(file)
  const leaf = new X509Certificate(certificate)
  const signer = new X509Certificate(authority)
  for (const { validFrom, validTo } of [leaf, signer]) {
    assert.equal(new Date(validFrom).getTime(), 0)
    assert.equal(new Date(validTo).toISOString(), '9999-12-31T23:59:59.000Z')
  }
  assert.ok(leaf.checkIssued(signer) && leaf.verify(signer.publicKey))
  assert.deepEqual([signer.ca, leaf.ca], [true, false])
  assert.equal(leaf.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  assert.ok(leaf.checkHost('greenhouse.local') && leaf.checkIP('10.0.0.2') && leaf.checkIP('::1'))
  assert.equal(leaf.checkIP('10.0.0.3'), undefined)
  assert.equal(fingerprint, signer.fingerprint256)
})

test('what is kept is used again; a new name changes the certificate, and nothing that others remember of it', async () => {
  const file = new MemoryFile()
  const first = await made(file)
  assert.deepEqual(await made(file), first)
  assert.deepEqual(await made(file, NAMES.slice(1)), first, 'a name that is gone does no harm')
  assert.equal(file.writes, 1)
  const moved = await made(file, ['localhost', '10.9.9.9'])
  assert.notEqual(moved.certificate, first.certificate)
  assert.ok(new X509Certificate(moved.certificate).checkIP('10.9.9.9'))
  assert.deepEqual(
    [moved.authority, moved.fingerprint, moved.pin, moved.key],
    [first.authority, first.fingerprint, first.pin, first.key],
  )
})

test('a file that is cut short or mixed up is made anew and said so, and no private key is in what devices get', async () => {
  const file = new MemoryFile()
  const first = await made(file)
  assert.deepEqual(authorityIn(file.text ?? ''), { pem: first.authority, fingerprint: first.fingerprint })
  assert.ok(!first.authority.includes('PRIVATE'))
  const whole = file.text as string
  // Without the listeners' own certificate only that is made again.
  file.text = whole.slice(0, whole.lastIndexOf('-----BEGIN CERTIFICATE'))
  assert.equal((await made(file)).fingerprint, first.fingerprint)
  damages.length = 0
  for (const text of ['', 'nonsense', whole.slice(0, 300), whole.replace('-----BEGIN PRIVATE', '-----BEGIN LOST')]) {
    file.text = text
    assert.notEqual((await made(file)).fingerprint, first.fingerprint)
  }
  assert.equal(damages.length, 4)
  for (const text of ['', 'x', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'])
    assert.equal(authorityIn(text), null)
})
