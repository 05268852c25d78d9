import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { FaultyCable } from './soak/cable.ts'

/** A cable to a server that answers each chunk with itself. */
async function laid(t: TestContext): Promise<{ cable: FaultyCable; open: () => Promise<Socket> }> {
  const server = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const cable = await FaultyCable.lay('127.0.0.1', () => ({ host: '127.0.0.1', port }))
  t.after(() => {
    cable.remove()
    server.close()
  })
  const open = async (): Promise<Socket> => {
    const socket = connect(Number(new URL(cable.address).port), '127.0.0.1')
    await once(socket, 'connect')
    // It is reset when its test is over.
    return socket.on('error', () => {})
  }
  return { cable, open }
}

async function answerOf(socket: Socket, text: string): Promise<string> {
  socket.write(text)
  const [data] = (await once(socket, 'data')) as [Buffer]
  return data.toString()
}

test('a cable that is silent holds what is sent, and passes it when it is mended', async (t) => {
  const { cable, open } = await laid(t)
  const socket = await open()
  assert.equal(await answerOf(socket, 'a'), 'a')
  cable.set({ kind: 'silent' })
  let isMended = false
  const answer = answerOf(socket, 'b').then((text) => [text, isMended])
  await new Promise((resolve) => setTimeout(resolve, 100))
  isMended = true
  cable.set(null)
  assert.deepEqual(await answer, ['b', true])
})

test('a cable that is reset resets its connections', async (t) => {
  const { cable, open } = await laid(t)
  const socket = await open()
  assert.equal(await answerOf(socket, 'a'), 'a')
  const failed = once(socket, 'error')
  cable.set({ kind: 'reset' })
  const [error] = (await failed) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
})

test('a half-open cable accepts and passes nothing, until it is mended', async (t) => {
  const { cable, open } = await laid(t)
  cable.set({ kind: 'half-open' })
  const socket = await open()
  let answers = 0
  socket.on('data', () => (answers += 1))
  socket.write('a')
  const ended = once(socket, 'close').catch(() => {})
  await new Promise((resolve) => setTimeout(resolve, 100))
  cable.set(null)
  await ended
  assert.equal(answers, 0)
  assert.equal(await answerOf(await open(), 'b'), 'b')
})

test('a cable passes so many bytes a second when throttled, and delays as it is told', async (t) => {
  const { cable, open } = await laid(t)
  const socket = await open()
  for (const fault of [
    { kind: 'throttle', bytesPerSecond: 20 },
    { kind: 'delay', ms: 100 },
  ] as const) {
    cable.set(fault)
    const startedAt = performance.now()
    assert.equal(await answerOf(socket, 'ab'), 'ab')
    // Each way takes 100 ms; a timer may be early by a millisecond.
    assert.ok(performance.now() - startedAt >= 195, fault.kind)
  }
})
