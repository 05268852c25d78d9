import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeDurably, writeWhole } from '../../runtime/identity/files.ts'

test('a file that a disk has no room for, but for its beginning, stays as it was', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'marram-test-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const path = join(dir, 'device.json')
  writeDurably(path, 'before')
  const module = new URL('../../runtime/identity/files.js', import.meta.url).href
  const writing = `const { writeDurably } = await import('${module}'); writeDurably('${path}', 'x'.repeat(2000))`
  // As on a full disk, the system takes what still fits and says how much that was.
  const limited = spawnSync('bash', [
    '-c',
    `ulimit -f 1; exec "${process.execPath}" --input-type=module -e "${writing}"`,
  ])
  assert.match(limited.stderr.toString(), /storage-io/)
  assert.equal(readFileSync(path, 'latin1'), 'before')
})

test('of two that write a large file to one place at once the later one is whole, and the other says so', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'marram-files-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'out')
  const early = writeWhole(path, 0o600, async (file) => {
    await file.appendFile('the first one')
    await writeWhole(path, 0o600, (other) => other.appendFile('the second'))
  })
  await assert.rejects(early, { code: 'in-use' })
  assert.equal(readFileSync(path, 'utf8'), 'the second')
  await assert.rejects(
    writeWhole(path, 0o600, () => Promise.reject(new Error('no'))),
    /no/,
  )
  assert.deepEqual(readdirSync(folder), ['out'])
})
