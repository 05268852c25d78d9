import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { joinGateway } from '../../runtime/setup.ts'
import { decodeInvite, encodeInvite } from '../../runtime/wire/invite.ts'
import { found, GatewayProcess, joined, temporaryFolder, until } from './harness.ts'

test('a joiner that reaches a gateway which may not admit anyone is sent to one that may', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const invite = decodeInvite((await a.json<{ token: string }>('invite')).token)
  assert.ok(invite.ok)
  const c = new GatewayProcess(join(folder, 'c'))
  t.after(() => c.stop('SIGKILL'))
  joinGateway({ dir: c.dir, token: encodeInvite({ ...invite.value, addresses: [b.address] }) })
  await c.start()
  await until('c is enrolled', async () => (await c.json<StatusView>('status')).enrolled)
})
