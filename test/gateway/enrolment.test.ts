import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Enrolment } from '../../runtime/gateway/enrolment.ts'
import { loadIdentity } from '../../runtime/identity/identity.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import type { Address } from '../../runtime/profile/address.ts'
import { joinGateway } from '../../runtime/setup.ts'
import { encodeInvite } from '../../runtime/wire/invite.ts'
import { until } from '../end-to-end/harness.ts'

test('who stops asking leaves no connection behind, neither to a gateway nor to a relay', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'marram-test-'))
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    socket.resume()
  }).listen(0, '127.0.0.1')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
    rmSync(dir, { recursive: true, force: true })
  })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const address: Address = { protocol: 'mqtt', host: '127.0.0.1', port }
  const token = encodeInvite({
    meshId: new Uint8Array(16).fill(1),
    meshName: 'test',
    rootPublicKey: new Uint8Array(32).fill(1),
    addresses: [`mqtt://127.0.0.1:${port}`, `mqtt://localhost:${port}`],
    inviteId: new Uint8Array(8),
    secret: new Uint8Array(16),
    expiry: 0,
  })
  joinGateway({ dir, token })
  const enrolment = new Enrolment({
    dir,
    identity: loadIdentity(dir),
    name: () => 'new',
    places: () => [],
    relays: () => [
      { address, login: () => null },
      { address, login: () => null },
    ],
    log: SILENT_LOG,
    onAdmitted: () => assert.fail('nobody has let it in'),
  })
  const asking = enrolment.ask()
  await until('it asks at the gateway and at both relays', () => sockets.size === 3)
  const stoppedAt = performance.now()
  enrolment.stop()
  await asking
  await until('the connections are closed', () => sockets.size === 0)
  assert.ok(performance.now() - stoppedAt < 5_000, 'before any of them has taken too long')
})
