import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UdpNetwork } from '../../runtime/discovery/udp.ts'
import { recordingLog } from '../broker/fixture.ts'

test('a machine that does not say its interfaces is asked again, told of once, and ends nothing', () => {
  const { log, lines } = recordingLog()
  let asked = 0
  const network = new UdpNetwork(log, () => {
    asked += 1
    throw new Error('too many open files')
  })
  assert.deepEqual([network.refresh(), network.refresh()], [[], []])
  network.close()
  assert.equal(asked, 2)
  assert.deepEqual(
    lines.map(({ event }) => event),
    ['discovery-failed'],
  )
})
