import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { found, marram, temporaryFolder } from '../end-to-end/harness.ts'

test(
  'a full disk refuses writes, goes on reading, loses nothing, and takes writes again when there is room',
  { timeout: 300_000 },
  async (t) => {
    const folder = temporaryFolder()
    const disk = join(folder, 'disk')
    mkdirSync(disk)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=80M', 'tmpfs', disk])
    t.after(() => execFileSync('umount', ['-l', disk]))
    const small = ['storage.reserveFree=8MiB']
    const a = await found(t, disk, 'a', { set: small })
    const file = join(folder, 'large.ndjson')
    const text = 'x'.repeat(700)
    const lines = Array.from({ length: 40_000 }, (_, i) =>
      JSON.stringify({ key: `k${i}`, value: { i, text: text + Math.sin(i) } }),
    )
    writeFileSync(file, `${lines.join('\n')}\n`)
    const full = await marram('import', 'climate', file, '--dir', a.dir)
    assert.equal(full.code, 74, full.stderr + full.stdout)
    assert.match(full.stderr, /full/)
    const counted = Number(await a.run('count', 'climate'))
    assert.ok(counted > 0, 'what was there before can be read')
    const refused = await marram('put', 'climate', 'one-more', '{"x":1}', '--dir', a.dir)
    assert.equal(refused.code, 74)
    assert.match(await a.run('get', 'climate', 'k0'), /xxx/)
    await a.stop()

    execFileSync('mount', ['-o', 'remount,size=400M', disk])
    await a.start({ set: small })
    assert.ok(Number(await a.run('count', 'climate')) >= counted, 'nothing acknowledged is lost')
    await a.run('put', 'climate', 'one-more', '{"x":1}')
  },
)
