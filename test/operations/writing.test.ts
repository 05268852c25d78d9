import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gateway, until } from './gateways.ts'

test('what would be stamped when there is no right to it any more is refused, and goes into no feed', async () => {
  let mayWrite = true
  const { driver, store } = gateway(51, { permits: () => mayWrite })
  await driver.write('climate', '', [{ kind: 'put', key: 'hall', fields: { v: 1 } }])
  const seqs = (): number[] => [...store.heads()].map(({ seq }) => seq)
  const before = seqs()
  mayWrite = false
  await assert.rejects(driver.write('climate', '', [{ kind: 'put', key: 'hall', fields: { v: 2 } }]), {
    code: 'not-permitted',
  })
  assert.deepEqual(seqs(), before, 'nobody would take it, nor what comes after it')
  mayWrite = true
  await driver.write('climate', '', [{ kind: 'put', key: 'hall', fields: { v: 3 } }])
  await until('it is written', () => seqs().some((seq) => seq === 2))
  await driver.close()
})
