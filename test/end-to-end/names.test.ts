import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { MemberView, PeerView, StatusView } from '../../runtime/ports/operations.ts'
import type { ReplicationView } from '../../runtime/ports/replication.ts'
import { found, GatewayProcess, joined, temporaryFolder, until } from './harness.ts'

async function namesOf(gateway: GatewayProcess, command: 'members' | 'peers'): Promise<string[]> {
  const lines = (await gateway.run(command, '--json')).split('\n').filter((line) => line !== '')
  return lines.map((line) => (JSON.parse(line) as MemberView | PeerView).name)
}

test('a gateway has one name everywhere: the one of its profile, from the founding on and after it was changed, also while it is away', async (t) => {
  const folder = temporaryFolder()
  const profile = join(folder, 'profile.json')
  writeFileSync(profile, JSON.stringify({ node: { name: 'roof' }, mesh: { discovery: ['bootstrap'] } }))
  const a = new GatewayProcess(join(folder, 'a'))
  t.after(() => a.stop('SIGKILL'))
  await a.run('init', '--mesh', 'test', '--profile', profile)
  await a.start()
  const b = await joined(t, folder, 'b', a, { set: ['node.name=cellar'] })
  await until('both are listed', async () => (await namesOf(b, 'members')).length === 2)
  assert.deepEqual(await namesOf(b, 'members'), ['cellar', 'roof'])

  await a.run('replicate', 'climate', '--to', 'cellar')
  await b.stop()
  await b.start({ set: ['node.name=attic'] })
  await until('it greeted under its new name', async () => (await namesOf(a, 'peers')).join() === 'attic')
  assert.deepEqual(await namesOf(a, 'members'), ['attic', 'roof'])
  assert.deepEqual(await namesOf(b, 'members'), ['attic', 'roof'])
  assert.equal((await a.json<ReplicationView>('replicate', '--list')).name, 'attic')
  await a.run('grant', 'attic', '--label', 'ops')
  await b.stop()
  await until('the link is down', () => a.lines.some(({ event }) => event === 'peer-down'))
  assert.deepEqual(await namesOf(a, 'peers'), ['attic'])
})

test('status of a gateway that does not run names it as when it does, and says nothing of what only a running one has', async (t) => {
  const a = await found(t, temporaryFolder(), 'a')
  const running = await a.run('status')
  const { name } = await a.json<StatusView>('status')
  await a.stop()
  assert.equal((await a.json<StatusView>('status')).name, name)
  const stopped = await a.run('status')
  for (const line of [/^listens on /m, /^links /m, /^queue /m, /^clock /m, /^up /m]) {
    assert.match(running, line)
    assert.doesNotMatch(stopped, line)
  }
  assert.match(stopped, /: offline\n/)
})

test('a name that needs a restart is told to nobody before it', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const { name } = await a.json<StatusView>('status')
  const profile = join(folder, 'profile.json')
  writeFileSync(profile, JSON.stringify({ node: { name: 'roof' } }))
  assert.match(await a.run('profile', 'set', profile), /need a restart: .*node\.name/)
  assert.equal((await a.json<StatusView>('status')).name, name)
  assert.deepEqual(await namesOf(a, 'members'), [name])
  await a.stop()
  await a.start()
  assert.equal((await a.json<StatusView>('status')).name, 'roof')
})
