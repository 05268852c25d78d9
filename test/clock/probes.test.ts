import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test, type TestContext } from 'node:test'
import { chronyProbe } from '../../runtime/clock/chrony.ts'
import { rtcProbe } from '../../runtime/clock/rtc.ts'
import { timesyncdProbe } from '../../runtime/clock/timesyncd.ts'

const NOW = Date.UTC(2027, 0, 1)

const folder = mkdtempSync(join(tmpdir(), 'marram-clock-'))
after(() => rmSync(folder, { recursive: true }))

test('timesyncd vouches since it has set the clock, and anew each time', async () => {
  const file = join(folder, 'synchronized')
  const probe = timesyncdProbe(file)
  assert.equal(await probe.look(NOW), null)
  writeFileSync(file, '')
  const first = await probe.look(NOW)
  assert.equal(await probe.look(NOW), first)
  utimesSync(file, 5, 5)
  const second = await probe.look(NOW)
  assert.ok(first !== null && second !== null && first !== second)
})

describe('a clock on the board', () => {
  function board(name: string, text: string): string {
    const rtcs = join(folder, name)
    mkdirSync(join(rtcs, 'rtc0'), { recursive: true })
    writeFileSync(join(rtcs, 'rtc0', 'since_epoch'), text)
    return rtcs
  }

  test('vouches when it agrees with the system’s', async () => {
    assert.notEqual(await rtcProbe(board('right', `${NOW / 1_000 + 30}\n`)).look(NOW), null)
  })

  test('does not when its battery is empty, when it says nothing, or when there is none', async () => {
    assert.equal(await rtcProbe(board('empty', '12\n')).look(NOW), null)
    assert.equal(await rtcProbe(board('broken', '')).look(0), null)
    assert.equal(await rtcProbe(join(folder, 'no such folder')).look(NOW), null)
  })
})

describe('chronyd', () => {
  /** Answers as chronyd 4 does to "tracking"; `change` spoils the answer. */
  async function chronyd(t: TestContext, change: (answer: DataView) => void = () => {}): Promise<number> {
    const socket = createSocket('udp4')
    socket.on('message', (request, { port, address }) => {
      assert.deepEqual([request.length, request[0], request[1], request.readUInt16BE(4)], [104, 6, 1, 33])
      const answer = new DataView(new ArrayBuffer(104))
      answer.setUint8(0, 6)
      answer.setUint8(1, 2)
      answer.setUint16(4, 33)
      answer.setUint16(6, 5)
      answer.setUint32(28, 0xc0a80101)
      answer.setUint16(52, 3)
      answer.setUint32(60, NOW / 1_000)
      change(answer)
      socket.send(new Uint8Array(answer.buffer), port, address)
    })
    return bound(t, socket)
  }

  async function bound(t: TestContext, socket: Socket): Promise<number> {
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    t.after(() => socket.close())
    return socket.address().port
  }

  test('vouches when it follows a source, and anew when it has heard from it again', async (t) => {
    let heard = NOW / 1_000
    const port = await chronyd(t, (answer) => answer.setUint32(60, heard))
    const first = await chronyProbe(port).look(NOW)
    assert.notEqual(first, null)
    assert.equal(await chronyProbe(port).look(NOW), first)
    heard += 64
    assert.notEqual(await chronyProbe(port).look(NOW), first)
  })

  const spoilt: readonly [string, (answer: DataView) => void][] = [
    ['is not synchronised', (answer) => answer.setUint16(54, 3)],
    ['follows nothing', (answer) => answer.setUint32(28, 0)],
    ['follows its own clock', (answer) => answer.setUint32(28, 0x7f7f0101)],
    ['refuses to answer', (answer) => answer.setUint16(8, 2)],
    ['speaks another version', (answer) => answer.setUint8(0, 5)],
  ]
  for (const [what, change] of spoilt) {
    test(`does not when it ${what}`, async (t) => {
      assert.equal(await chronyProbe(await chronyd(t, change)).look(NOW), null)
    })
  }

  test('does not when something else answers, nothing answers or nothing is there', async (t) => {
    const other = createSocket('udp4')
    other.on('message', (_request, { port, address }) => other.send('no', port, address))
    const silent = createSocket('udp4')
    assert.equal(await chronyProbe(await bound(t, other)).look(NOW), null)
    assert.equal(await chronyProbe(await bound(t, silent)).look(NOW), null)
    const gone = createSocket('udp4')
    gone.bind(0, '127.0.0.1')
    await once(gone, 'listening')
    const { port } = gone.address()
    gone.close()
    assert.equal(await chronyProbe(port).look(NOW), null)
  })
})
