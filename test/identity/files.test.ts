import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeDurably } from '../../runtime/identity/files.ts'

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
