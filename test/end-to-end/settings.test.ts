import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { found, temporaryFolder } from './harness.ts'

test('what --set overrides stays so for that run, whatever profile is kept meanwhile, and is not kept', async (t) => {
  const folder = temporaryFolder()
  const gateway = await found(t, folder, 'a', { set: ['sources=[]', 'interest=["climate"]'] })
  const profile = join(folder, 'profile.json')
  writeFileSync(profile, JSON.stringify({ id: 'mine', interest: ['readings'] }))
  const { restart } = await gateway.json<{ restart: string[] }>('profile', 'set', profile)
  assert.deepEqual(restart, [])
  const inForce = async (): Promise<unknown> => {
    const status = await gateway.json<StatusView>('status')
    return [status.profile.id, status.interest]
  }
  assert.deepEqual(await inForce(), ['mine', ['climate']])
  await gateway.stop()
  await gateway.start()
  assert.deepEqual(await inForce(), ['mine', ['readings']])
})

test('what waits for a restart is named until there is one, whatever profile is set meanwhile', async (t) => {
  const folder = temporaryFolder()
  const gateway = await found(t, folder, 'a')
  const profile = join(folder, 'profile.json')
  const set = async (given: object): Promise<string[]> => {
    writeFileSync(profile, JSON.stringify(given))
    return (await gateway.json<{ restart: string[] }>('profile', 'set', profile)).restart
  }
  assert.deepEqual(await set({ node: { cell: 'hall' } }), ['node.cell'])
  assert.deepEqual(await set({ node: { cell: 'hall' }, labels: { row: '7' } }), ['node.cell'])
  assert.deepEqual(await set({ labels: { row: '7' } }), [])
})
