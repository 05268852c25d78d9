import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { connectAsync } from 'mqtt'
import { randomInteger, seededRandom } from '../../runtime/base/random.ts'
import type { DocumentView } from '../../runtime/ports/operations.ts'
import { found, marram, temporaryFolder } from '../end-to-end/harness.ts'

/**
 * What the disk holds at the moment of a power cut: the gateway's file system lies in an image on XFS, which copies it at
 * once (reflink) at any moment, without what the kernel still keeps in memory.
 */
const IMAGES = 16

function sh(...command: readonly string[]): string {
  const [program, ...args] = command as [string, ...string[]]
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
}

/** Mounts an image and undoes it after the test. */
function mount(t: TestContext, image: string, at: string, options: readonly string[] = []): () => void {
  mkdirSync(at, { recursive: true })
  const device = sh('losetup', '--find', '--show', ...options, image)
  sh('mount', device, at)
  let isMounted = true
  const undo = (): void => {
    if (!isMounted) return
    isMounted = false
    sh('umount', '-l', at)
    sh('losetup', '--detach', device)
  }
  t.after(undo)
  return undo
}

test(`${IMAGES} power cuts at random moments lose nothing that was acknowledged`, { timeout: 300_000 }, async (t) => {
  const random = seededRandom(7)
  const folder = temporaryFolder()
  const outer = join(folder, 'outer.img')
  sh('truncate', '-s', '3G', outer)
  sh('mkfs.xfs', '-q', '-m', 'reflink=1', outer)
  mount(t, outer, join(folder, 'outer'))
  const inner = join(folder, 'outer/disk.img')
  sh('truncate', '-s', '300M', inner)
  sh('mkfs.ext4', '-q', inner)
  mount(t, inner, join(folder, 'disk'), ['--direct-io=on'])

  const a = await found(t, join(folder, 'disk'), 'a', { set: ['storage.reserveFree=16MiB'] })
  const mqtt = await connectAsync(a.address, { protocolVersion: 4 })
  const acknowledged = new Map<string, number>()
  let isOver = false
  const writers = Array.from({ length: 20 }, async (_, device) => {
    for (let n = 1; !isOver; n++) {
      await mqtt.publishAsync(
        `zigbee2mqtt/device-${device}`,
        JSON.stringify({ n, text: 'x'.repeat(randomInteger(random, 0, 300)) }),
        { qos: 1 },
      )
      acknowledged.set(`device-${device}`, n)
    }
  })
  const cuts: { image: string; acknowledged: Map<string, number> }[] = []
  for (let i = 0; i < IMAGES; i++) {
    await new Promise((resolve) => setTimeout(resolve, randomInteger(random, 50, 700)))
    const image = join(folder, `outer/cut-${i}.img`)
    const before = new Map(acknowledged)
    sh('cp', '--reflink=always', inner, image)
    cuts.push({ image, acknowledged: before })
  }
  isOver = true
  await Promise.all(writers)
  mqtt.end(true)

  let documents = 0
  for (const cut of cuts) {
    const at = join(folder, 'cut')
    const undo = mount(t, cut.image, at)
    // After a power cut no process of before is alive.
    rmSync(join(at, 'a/lock'), { force: true })
    const verified = await marram('verify', '--json', '--dir', join(at, 'a'))
    assert.equal(verified.code, 0, verified.stderr + verified.stdout)
    const listed = await marram('list', 'climate', '--json', '--dir', join(at, 'a'))
    assert.equal(listed.code, 0, listed.stderr)
    const held = new Map(
      listed.stdout
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as DocumentView)
        .map(({ key, value }) => [key, Number(value['n'])]),
    )
    for (const [key, n] of cut.acknowledged) {
      assert.ok(
        (held.get(key) ?? 0) >= n,
        `${cut.image}: ${key} was acknowledged at ${n}, the image has ${held.get(key)}`,
      )
      documents += 1
    }
    undo()
  }
  t.diagnostic(
    `${IMAGES} images, ${documents} acknowledged states checked, ${[...acknowledged.values()].reduce((sum, n) => sum + n, 0)} messages acknowledged in all`,
  )
})
