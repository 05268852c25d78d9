import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fromHex, hex } from '../../runtime/base/bytes.ts'
import { sha256 } from '../../runtime/crypto/hash.ts'
import { decodeBatch, positionOfBatch } from '../../runtime/wire/batch.ts'
import { decodeBody } from '../../runtime/wire/body.ts'
import { decodeCheckpoint, encodeCheckpoint } from '../../runtime/wire/checkpoint.ts'
import { decodeDescriptor, encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import { decodeInvite, encodeInvite } from '../../runtime/wire/invite.ts'
import { decodeMessages, encodeMessages } from '../../runtime/wire/message.ts'
import { decodeProof, encodeProof } from '../../runtime/wire/proof.ts'
import { BATCHES, CAPABILITY, CHECKPOINT, FEED, INVITE, MESH, MESSAGES, OPS } from './samples.ts'

/**
 * What version 1 says on the wire, byte for byte. A change to any of it is another version: gateways of both must go on
 * understanding each other. `MARRAM_GOLDEN=print` prints the file anew.
 */
const FILE = join(import.meta.dirname, '../../../test/wire/golden.json')
const golden = JSON.parse(readFileSync(FILE, 'utf8')) as { readonly [name: string]: string }

/** Compression is another library's: what it makes may differ from one to the next, what it means may not. */
const isCompressed = (i: number): boolean => (BATCHES[i]?.header.flags ?? 0) % 4 > 0

const encoded: { readonly [name: string]: Uint8Array } = {
  ...Object.fromEntries(BATCHES.map(({ bytes }, i) => [`batch ${i}`, bytes])),
  ...Object.fromEntries(MESSAGES.map((message, i) => [`${message.type} ${i}`, encodeMessages([message])])),
  descriptor: encodeDescriptor(FEED.descriptor),
  capability: CAPABILITY,
  checkpoint: encodeCheckpoint(CHECKPOINT),
  proof: proofOfTwo(),
  invite: Buffer.from(encodeInvite(INVITE)),
}

function proofOfTwo(): Uint8Array {
  const [a, b] = BATCHES
  assert.ok(a && b)
  return encodeProof(FEED, a, b)
}

function bytesOf(name: string): Uint8Array {
  const bytes = fromHex(golden[name] ?? '')
  assert.ok(bytes, `${name} is in the file`)
  return bytes
}

if (process.env['MARRAM_GOLDEN'] === 'print') {
  const lines = Object.entries(encoded).map(([name, bytes]) => `  ${JSON.stringify(name)}: "${hex(bytes)}"`)
  console.log(`{\n${lines.join(',\n')}\n}`)
}

describe('format 1 on the wire', () => {
  test('is written as it always was', () => {
    assert.deepEqual(Object.keys(golden), Object.keys(encoded))
    for (const [name, bytes] of Object.entries(encoded)) {
      if (name.startsWith('batch') && isCompressed(Number(name.slice(6)))) continue
      assert.equal(hex(bytes), golden[name], name)
    }
  })

  test('a batch is read as it was written', () => {
    BATCHES.forEach(({ header, hash }, i) => {
      const bytes = bytesOf(`batch ${i}`)
      const read = decodeBatch(MESH, bytes)
      assert.ok(read.ok)
      const { seq, hlc } = read.value.header
      assert.deepEqual(positionOfBatch(bytes), { seq, hash: read.value.hash, hlc })
      if (!isCompressed(i)) assert.deepEqual([read.value.header, read.value.hash], [header, hash])
      const ops = OPS[i]
      if (ops === undefined) return
      const body = decodeBody(read.value.header, read.value.body)
      assert.ok(body.ok)
      assert.deepEqual({ ...body.value }, { ...ops }, `batch ${i}`)
    })
  })

  test('a message is read as it was written', () => {
    MESSAGES.forEach((message, i) => {
      assert.deepEqual(decodeMessages(bytesOf(`${message.type} ${i}`)), { ok: true, value: [message] })
    })
  })

  test('a descriptor, a checkpoint, a proof and an invite are read as they were written', () => {
    assert.deepEqual(decodeDescriptor(bytesOf('descriptor')), { ok: true, value: FEED.descriptor })
    const header = {
      ...(BATCHES[0] as (typeof BATCHES)[number]).header,
      seq: 10,
      bodyLength: bytesOf('checkpoint').length,
    }
    const checkpoint = decodeCheckpoint(
      { ...header, hlc: 2 ** 52, bodyHash: sha256(bytesOf('checkpoint')) },
      bytesOf('checkpoint'),
    )
    assert.deepEqual(checkpoint, { ok: true, value: CHECKPOINT })
    const proof = decodeProof(MESH, bytesOf('proof'))
    assert.ok(proof.ok)
    assert.equal(proof.value.feed.key, FEED.key)
    assert.deepEqual(decodeInvite(Buffer.from(bytesOf('invite')).toString()), { ok: true, value: INVITE })
  })
})
