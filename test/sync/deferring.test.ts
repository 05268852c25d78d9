import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeMessages } from '../../runtime/wire/message.ts'
import { Mesh } from '../simulation/mesh.ts'

test('of many batches stamped ahead, whose times come one after another, few are sent in vain', () => {
  let sent = 0
  const mesh = new Mesh({
    gateways: 2,
    edges: [[0, 1]],
    onFrame: (from, _to, bytes) => {
      const messages = from === 0 ? decodeMessages(bytes) : null
      if (!messages?.ok) return
      for (const message of messages.value) if (message.type === 'data') sent += message.batches.length
    },
  })
  const [author, other] = [mesh.at(0), mesh.at(1)]
  mesh.pass(1_000)
  sent = 0
  const batches = 300
  // Later than what is let pass, and not so late that it would set itself back.
  author.clockBaseMs += 600_000
  for (let i = 0; i < batches; i++) {
    author.write('climate', { kind: 'put', key: `sensor-${i}`, fields: { temperature: i } })
    mesh.pass(1_000)
  }
  mesh.pass(30_000)
  const before = other.disk.document({ collection: 'climate', partition: '' }, 'sensor-0')
  assert.ok(before !== undefined, 'what is due is here')
  mesh.pass(330_000)
  for (let i = 0; i < batches; i++) {
    assert.ok(other.disk.document({ collection: 'climate', partition: '' }, `sensor-${i}`), `batch ${i} is here`)
  }
  assert.ok(sent <= 12 * batches, `${sent} batches were sent for ${batches}`)
})
