import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, renameSync, statSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { MarramError } from '../../runtime/base/errors.ts'
import { HTTP_LIMITS } from '../../runtime/base/limits.ts'
import { createControlServer } from '../../runtime/http/server.ts'
import { socketPathOf } from '../../runtime/http/socket-path.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { ask, begin, openDoor, temporaryFolder } from './door.ts'
import { FakeOperations } from './fake-operations.ts'

function json(text: string): unknown {
  return JSON.parse(text) as unknown
}

test('PATCH merges, PUT replaces, GET reads, DELETE deletes', async (t) => {
  const { dir } = await openDoor(t)
  const path = 'collections/climate/documents/kitchen'
  assert.equal((await ask(dir, 'PATCH', path, '{"a":1,"b":2}')).status, 200)
  await ask(dir, 'PATCH', path, '{"b":null,"c":3}')
  assert.deepEqual(json((await ask(dir, 'GET', path)).text), { key: 'kitchen', value: { a: 1, c: 3 } })
  await ask(dir, 'PUT', path, '{"d":4}')
  assert.deepEqual(json((await ask(dir, 'GET', path)).text), { key: 'kitchen', value: { d: 4 } })
  assert.equal((await ask(dir, 'DELETE', path)).status, 200)
  assert.equal((await ask(dir, 'GET', path)).status, 404)
})

test('a batch writes and deletes by key; one line that is not understood refuses all of it', async (t) => {
  const { dir } = await openDoor(t)
  const batch = (writes: unknown): ReturnType<typeof ask> =>
    ask(dir, 'POST', 'collections/climate/batch', JSON.stringify({ writes }))
  const document = (key: string): ReturnType<typeof ask> => ask(dir, 'GET', `collections/climate/documents/${key}`)
  assert.equal((await batch([{ key: 'a', value: { n: 1 } }])).status, 200)
  assert.equal(
    (
      await batch([
        { key: 'b', value: { n: 2 } },
        { key: 'a', value: null },
      ])
    ).status,
    200,
  )
  assert.deepEqual(json((await document('b')).text), { key: 'b', value: { n: 2 } })
  assert.equal((await document('a')).status, 404)
  for (const wrong of [{ key: 'b' }, { key: 'b', value: [1] }, { value: null }, null, 'b']) {
    assert.equal((await batch([{ key: 'c', value: { n: 3 } }, wrong])).status, 400, JSON.stringify(wrong))
  }
  assert.equal((await batch({ key: 'c' })).status, 400)
  assert.equal((await document('b')).status, 200)
  assert.equal((await document('c')).status, 404)
})

test('writes wait for other gateways as the address says, and too few of them are a time-out', async (t) => {
  const { dir, operations } = await openDoor(t)
  const path = 'collections/climate/documents/kitchen'
  await ask(dir, 'PATCH', `${path}?wait=2&timeout=10s`, '{"a":1}')
  await ask(dir, 'PUT', `${path}?wait=1`, '{"a":1}')
  await ask(dir, 'DELETE', `${path}?wait=3&timeout=1m`)
  await ask(dir, 'POST', 'collections/climate/batch?wait=4', '{"writes":[{"key":"k","value":{"a":1}}]}')
  assert.deepEqual(operations.waits, [
    [2, 10_000],
    [1, undefined],
    [3, 60_000],
    [4, undefined],
  ])
  const few = await ask(dir, 'PATCH', `${path}?wait=9`, '{"a":1}')
  assert.equal(few.status, 504)
  assert.match(few.text, /"code":"unconfirmed".*the write itself is done/)
  for (const wrong of ['wait=two', 'wait=1&timeout=10'])
    assert.equal((await ask(dir, 'PATCH', `${path}?${wrong}`, '{"a":1}')).status, 400)
})

test('every key has an address of its own: slashes, spaces, dots, percent signs', async (t) => {
  const { dir, operations } = await openDoor(t)
  const keys = ['hall 7/sensor-7', '.', '..', '%2F', 'a?b#c', 'ü', '../status']
  for (const key of keys) await ask(dir, 'PUT', `collections/c/documents/${encodeURIComponent(key)}`, '{"a":1}')
  assert.deepEqual([...(operations.collections.get('c')?.keys() ?? [])], keys)
})

test('provenance comes with the document only when it is asked for', async (t) => {
  const { dir, operations } = await openDoor(t)
  await operations.put('climate', 'k', { a: 1 })
  assert.match((await ask(dir, 'GET', 'collections/climate/documents/k?provenance')).text, /"provenance":\{"a":/)
  assert.doesNotMatch((await ask(dir, 'GET', 'collections/climate/documents/k')).text, /provenance/)
})

test('pages follow one another by their cursor until there is no more', async (t) => {
  const { dir, operations } = await openDoor(t)
  const keys = ['a', 'b', 'c', 'd', 'e']
  for (const key of keys) await operations.put('climate', key, { key })
  const seen: string[] = []
  for (let cursor: string | undefined = ''; cursor !== undefined;) {
    const { text } = await ask(dir, 'GET', `collections/climate/documents?limit=2&cursor=${cursor}`)
    const page = json(text) as { documents: { key: string }[]; next?: string }
    seen.push(...page.documents.map(({ key }) => key))
    cursor = page.next
  }
  assert.deepEqual(seen, keys)
  assert.deepEqual(json((await ask(dir, 'GET', 'collections/nothing/documents')).text), { documents: [] })
})

test('status, peers, digest, count, invites and the profile answer with what the gateway says', async (t) => {
  const { dir, operations } = await openDoor(t)
  await operations.put('climate', 'k', { a: 1 })
  assert.deepEqual(json((await ask(dir, 'GET', 'status')).text), operations.status())
  assert.deepEqual(json((await ask(dir, 'GET', 'peers')).text), operations.peers())
  assert.deepEqual(json((await ask(dir, 'GET', 'digest?collection=climate')).text), operations.digest('climate'))
  assert.deepEqual(json((await ask(dir, 'GET', 'collections/climate/count?prefix=x')).text), { count: 0 })
  assert.match((await ask(dir, 'POST', 'invites', '{"uses":2}')).text, /marram1abc/)
  assert.deepEqual(operations.invites, [{ uses: 2 }])
  await ask(dir, 'PUT', 'profile', '{"id":"x"}')
  assert.deepEqual(operations.profiles, [{ id: 'x' }])
})

test('transfers to chosen gateways are begun, shown and ended', async (t) => {
  const { dir, operations } = await openDoor(t)
  assert.deepEqual(json((await ask(dir, 'GET', 'replications')).text), operations.replications())
  const begun = json((await ask(dir, 'POST', 'collections/readings/replications', '{"to":"p1","partition":"n"}')).text)
  assert.deepEqual(begun, await operations.replicate('readings', { to: 'p1', partition: 'n' }))
  const ended = json((await ask(dir, 'DELETE', 'collections/readings/replications/p2?partition=n%2F1')).text)
  assert.deepEqual(ended, await operations.stopReplicating('readings', { to: 'p2', partition: 'n/1' }))
})

test('what is wrong is told as problem details with a stable code', async (t) => {
  const { dir } = await openDoor(t)
  const cases: readonly [string, string, string | undefined, number, string][] = [
    ['GET', 'collections/climate/documents/none', undefined, 404, 'not-found'],
    ['GET', 'nowhere', undefined, 404, 'not-found'],
    ['POST', 'status', undefined, 404, 'not-found'],
    ['GET', 'collections/climate/documents/%ff', undefined, 400, 'bad-request'],
    ['GET', 'collections/NO/count', undefined, 400, 'bad-request'],
    ['GET', 'collections/climate/documents?limit=many', undefined, 400, 'bad-request'],
    ['GET', 'collections/climate/export?where=wrong', undefined, 400, 'bad-request'],
    ['PUT', 'collections/climate/documents/k', '{', 400, 'bad-request'],
    ['PUT', 'collections/climate/documents/k', '[1]', 400, 'bad-request'],
    ['PUT', 'profile', 'null', 400, 'bad-request'],
    ['POST', 'collections/readings/replications', '{}', 400, 'bad-request'],
    ['POST', 'collections/readings/replications', '{"to":"p1","partition":1}', 400, 'bad-request'],
    ['POST', 'collections/readings/replications', '{"to":"p2"}', 409, 'already-exists'],
    ['DELETE', 'collections/readings/replications/p1', undefined, 404, 'not-found'],
  ]
  for (const [method, path, body, status, code] of cases) {
    const reply = await ask(dir, method, path, body)
    assert.equal(reply.status, status, `${method} ${path}`)
    assert.equal(reply.type, 'application/problem+json')
    const problem = json(reply.text) as { status: number; code: string; detail: string }
    assert.deepEqual([problem.status, problem.code], [status, code])
    assert.match(problem.detail, /^Cannot /)
  }
})

test('a bug behind the door is one answer with 500, and the door stays open', async (t) => {
  const { dir, operations } = await openDoor(t)
  operations.beforeWrite = () => {
    throw new TypeError('a bug')
  }
  assert.equal((await ask(dir, 'PUT', 'collections/climate/documents/k', '{"a":1}')).status, 500)
  assert.equal((await ask(dir, 'GET', 'status')).status, 200)
})

test('a body over the bound is answered with 413, although not all of it was read', async (t) => {
  const { dir } = await openDoor(t)
  const reply = await ask(dir, 'PUT', 'collections/climate/documents/k', 'x'.repeat(HTTP_LIMITS.bodyBytesMax + 100_000))
  assert.equal(reply.status, 413)
  assert.match(reply.text, /too-large/)
})

test('an export that fails in its midst ends with the error, so that it can not be taken for whole', async (t) => {
  const { dir, operations } = await openDoor(t)
  operations.list = function* () {
    yield { key: 'a', value: { a: 1 } }
    throw new MarramError('storage-io', 'Cannot read the page')
  }
  const { text } = await ask(dir, 'GET', 'collections/climate/export')
  assert.ok(text.endsWith('{"error":{"code":"storage-io","message":"Cannot read the page"}}\n'))
})

test('an export is read from the store no faster than it is taken', async (t) => {
  const { dir, operations } = await openDoor(t)
  let made = 0
  const text = 'x'.repeat(10_000)
  operations.list = function* () {
    for (; made < 5_000; made++) yield { key: `k${made}`, value: { text } }
  }
  const response = await begin(dir, 'GET', 'collections/climate/export')
  await once(response, 'readable')
  assert.ok(made < 500, `${made} of 5,000 documents were made for a reader that took none`)
  response.destroy()
})

test('changes come as events with a cursor, and a watcher is told when the gateway stops', async (t) => {
  const { dir, operations, server } = await openDoor(t)
  await operations.put('climate', 'a', { a: 1 })
  const response = await begin(dir, 'GET', 'collections/climate/changes')
  assert.equal(response.headers['content-type'], 'text/event-stream')
  response.setEncoding('utf8')
  let text = ''
  response.on('data', (chunk: string) => (text += chunk))
  const ended = once(response, 'end')
  while (!text.includes('"key":"a"')) await once(response, 'data')
  await operations.put('climate', 'b', { b: 2 })
  while (!text.includes('"key":"b"')) await once(response, 'data')
  await server.close()
  await ended
  assert.match(text, /^id: c0\ndata: \{"change":"enter","key":"a","value":\{"a":1\},"cursor":"c0"\}\n\n/)
  assert.match(text, /\n\nevent: error\ndata: \{"error":\{"code":"closed",.*\}\}\n\n$/)
})

test('a watcher that has gone is watched for no longer', async (t) => {
  const { dir, operations } = await openDoor(t)
  const stopped = new Promise<void>((resolve) => {
    operations.watch = (collection, options) => {
      options?.signal?.addEventListener('abort', () => resolve())
      return FakeOperations.prototype.watch.call(operations, collection, options)
    }
  })
  const response = await begin(dir, 'GET', 'collections/climate/changes')
  response.destroy()
  await stopped
})

test('closing lets a write that is under way end and answer', async (t) => {
  const { dir, operations, server } = await openDoor(t)
  let proceed: () => void = () => {}
  const writing = new Promise<void>((begun) => {
    operations.beforeWrite = () => {
      begun()
      return new Promise((resolve) => {
        proceed = resolve
      })
    }
  })
  const reply = ask(dir, 'PUT', 'collections/climate/documents/k', '{"a":1}')
  await writing
  const closed = server.close()
  proceed()
  assert.equal((await reply).status, 200)
  await closed
})

test('the socket is for its owner alone, and gone when the door is closed', async (t) => {
  const { dir, server } = await openDoor(t)
  assert.equal(statSync(join(dir, 'marram.sock')).mode & 0o777, 0o600)
  await server.close()
  assert.equal(existsSync(join(dir, 'marram.sock')), false)
})

test('a socket that nobody answers on is replaced, one that is answered is not', async (t) => {
  const dir = temporaryFolder(t)
  const other = createServer().listen(join(dir, 'marram.sock'))
  await once(other, 'listening')
  const open = (): Promise<unknown> => createControlServer({ operations: new FakeOperations(), dir, log: SILENT_LOG })
  await assert.rejects(open(), { code: 'in-use' })
  // As a process that is killed leaves it: closing would take the file away.
  const left = `${socketPathOf(dir)}.left`
  renameSync(socketPathOf(dir), left)
  other.close()
  await once(other, 'close')
  renameSync(left, socketPathOf(dir))
  await openDoor(t, dir)
  assert.equal((await ask(dir, 'GET', 'status')).status, 200)
})

test('a directory with a long name has its socket elsewhere, in a folder of this user alone', async (t) => {
  const runtime = temporaryFolder(t)
  const dir = join(temporaryFolder(t), 'x'.repeat(120))
  mkdirSync(dir)
  const before = process.env['XDG_RUNTIME_DIR']
  process.env['XDG_RUNTIME_DIR'] = runtime
  t.after(() => {
    if (before === undefined) delete process.env['XDG_RUNTIME_DIR']
    else process.env['XDG_RUNTIME_DIR'] = before
  })
  assert.ok(socketPathOf(dir).startsWith(runtime))
  assert.notEqual(socketPathOf(dir), socketPathOf(`${dir}y`))
  const { server } = await openDoor(t, dir)
  assert.equal((await ask(dir, 'GET', 'status')).status, 200)
  await server.close()
  chmodSync(runtime, 0o755)
  const open = createControlServer({ operations: new FakeOperations(), dir, log: SILENT_LOG })
  await assert.rejects(open, { code: 'not-permitted' })
})

test('bytes that are no HTTP cost their connection, nothing else', async (t) => {
  const { dir } = await openDoor(t)
  const socket = connect(socketPathOf(dir))
  socket.end('\0\xff nonsense\r\n\r\n')
  await once(socket.resume(), 'close')
  assert.equal((await ask(dir, 'GET', 'status')).status, 200)
})
