import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test, type TestContext } from 'node:test'
import { MarramError } from '../../runtime/base/errors.ts'
import { openDoor, temporaryFolder, type OpenDoor } from '../http/door.ts'
import { marram, type Ended } from './command.ts'

interface Bench extends OpenDoor {
  readonly run: (...args: string[]) => Promise<Ended>
  /** The path of a file with this content. */
  readonly file: (name: string, content: string) => string
}

async function bench(t: TestContext): Promise<Bench> {
  const door = await openDoor(t)
  const folder = temporaryFolder(t)
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  return { ...door, run: (...args) => marram([...args, '--dir', door.dir]), file }
}

function json(text: string): unknown {
  return JSON.parse(text) as unknown
}

test('put merges and prints key and stamp, --replace replaces, - reads standard input', async (t) => {
  const { dir, operations, run } = await bench(t)
  const { code, stdout } = await run('put', 'climate', 'kitchen', '{"a":1,"b":2}', '--json')
  assert.deepEqual([code, json(stdout)], [0, { key: 'kitchen', stamp: '2026-01-02T03:04:05.006Z+0.0@me' }])
  await run('put', 'climate', 'kitchen', '{"b":null,"c":3}')
  assert.deepEqual(operations.get('climate', 'kitchen')?.value, { a: 1, c: 3 })
  assert.equal((await marram(['put', 'climate', 'kitchen', '-', '--replace', '--dir', dir], '{"d":4}')).code, 0)
  assert.deepEqual(operations.get('climate', 'kitchen')?.value, { d: 4 })
})

test('put and delete wait for other gateways; too few of them end with 124 and say that the write is done', async (t) => {
  const { operations, run } = await bench(t)
  assert.equal((await run('put', 'climate', 'kitchen', '{"a":1}', '--wait', '2', '--timeout', '10s')).code, 0)
  assert.equal((await run('delete', 'climate', 'kitchen', '--wait', '1')).code, 0)
  assert.equal((await run('put', 'climate', 'kitchen', '{"a":1}', '--wait', 'durable')).code, 0)
  assert.deepEqual(operations.waits, [
    [2, 10_000],
    [1, undefined],
  ])
  const { code, stderr } = await run('put', 'climate', 'kitchen', '{"a":1}', '--wait', '9', '--json')
  assert.equal(code, 124)
  assert.match(stderr, /"unconfirmed".*the write itself is done/)
  for (const wrong of [
    ['--wait', 'two'],
    ['--wait', '1', '--timeout', '10'],
  ])
    assert.equal((await run('put', 'climate', 'kitchen', '{"a":1}', ...wrong)).code, 2)
})

test('put of what is no JSON object is refused before or by the gateway', async (t) => {
  const { run } = await bench(t)
  for (const text of ['{', '[1]', '7', '']) {
    const { code, stderr } = await run('put', 'climate', 'k', text, '--json')
    assert.equal(code, 1, text)
    const { error } = json(stderr) as { error: { code: string; message: string } }
    assert.deepEqual(
      [error.code, error.message.includes(`it must be a JSON object such as '{"temp`)],
      ['bad-request', true],
    )
  }
})

test('put of what is nested too deep to be sent is refused before the gateway is asked', async (t) => {
  const { run } = await bench(t)
  const text = `{"a":${'['.repeat(20_000)}1${']'.repeat(20_000)}}`
  const { code, stderr } = await run('put', 'climate', 'k', text)
  assert.deepEqual([code, stderr], [1, 'marram: Cannot send the document: it is nested too deep\n'])
})

test('get prints the document, with provenance when asked, and not-found is 1', async (t) => {
  const { operations, run } = await bench(t)
  await operations.put('climate', 'hall 7/a', { temperature: 21.5 })
  assert.equal((await run('get', 'climate', 'hall 7/a')).stdout, 'temperature  21.5\n')
  const { stdout } = await run('get', 'climate', 'hall 7/a', '--provenance')
  assert.match(stdout, /^temperature {2}21\.5 {2}by me .* sequence 1 signature valid\n$/)
  const { code, stderr } = await run('get', 'climate', 'none', '--json')
  assert.equal(code, 1)
  assert.deepEqual(json(stderr), {
    error: { code: 'not-found', message: 'Cannot get "none": there is no such document in "climate"' },
  })
})

test('get --provenance stands in columns, and what several have counted says whose each part is, not whose the sum', async (t) => {
  const { operations, run } = await bench(t)
  await operations.put('climate', 'k', { a: 1, total: 12 })
  const part = { author: 'me', stamp: '2026-01-02T03:04:05.006Z+0.0@me', feed: '00', sequence: 1, valid: true }
  operations.provenance = () => ({
    a: part,
    total: {
      ...part,
      parts: [
        { ...part, value: 5 },
        { ...part, author: 'you', value: 7 },
      ],
    },
  })
  const proof = '2026-01-02T03:04:05.006Z sequence 1 signature valid'
  assert.equal(
    (await run('get', 'climate', 'k', '--provenance')).stdout,
    `a      1    by me ${proof}\ntotal  12\n         5  by me ${proof}\n         7  by you ${proof}\n`,
  )
})

test('rows of a series say their time wherever they are shown', async (t) => {
  const { operations, run } = await bench(t)
  const row = { key: 'plug-1', value: { power: 20 }, time: '2026-01-02T03:04:05.006Z', row: '01a' }
  operations.get = () => row
  assert.equal((await run('get', 'readings', 'plug-1')).stdout, `row of ${row.time}\npower  20\n`)
  operations.watch = async function* () {
    yield await Promise.resolve({ change: 'enter', ...row, cursor: 'c1' })
  }
  assert.match(
    (await run('watch', 'readings')).stdout,
    /^enter {3}plug-1 {2}2026-01-02T03:04:05\.006Z {2}\{"power":20\}\n/,
  )
})

test('list, count and delete do what they say', async (t) => {
  const { operations, run } = await bench(t)
  for (const key of ['a1', 'a2', 'b1']) await operations.put('climate', key, { n: 1 })
  const { stdout } = await run('list', 'climate', '--prefix', 'a', '--json')
  assert.equal(stdout, '{"key":"a1","value":{"n":1}}\n{"key":"a2","value":{"n":1}}\n')
  assert.equal((await run('list', 'climate', '--limit', '1')).stdout, 'a1  {"n":1}\n')
  assert.deepEqual(json((await run('count', 'climate', '--json')).stdout), { count: 3 })
  assert.equal((await run('delete', 'climate', 'a1')).code, 0)
  assert.equal((await run('delete', 'climate', 'a1')).code, 1)
})

test('errors end with the exit code of their kind and one sentence', async (t) => {
  const { operations, run } = await bench(t)
  for (const [error, exit] of [
    ['storage-full', 74],
    ['not-permitted', 77],
    ['overloaded', 1],
  ] as const) {
    operations.beforeWrite = () => {
      throw new MarramError(error, 'Cannot write: so it is')
    }
    const { code, stdout, stderr } = await run('put', 'climate', 'k', '{"a":1}')
    assert.deepEqual([code, stdout, stderr], [exit, '', 'marram: Cannot write: so it is\n'])
  }
})

test('where no gateway runs, writing is 69 and names the command that starts one', async (t) => {
  const dir = temporaryFolder(t)
  const { code, stderr } = await marram(['put', 'climate', 'k', '{"a":1}', '--dir', dir])
  assert.equal(code, 69)
  assert.match(stderr, /start it with "marram run --dir /)
})

test('members says whose place a member took', async (t) => {
  const { run } = await bench(t)
  assert.match((await run('members')).stdout, /\nshop +p2 +member, in the place of p0 {2}/)
})

test('names that others chose do not steer the terminal', async (t) => {
  const { run } = await bench(t)
  const { stdout } = await run('peers')
  assert.match(stdout, /roof\\u001b\[2J {2}p1/)
  assert.ok(!stdout.includes('\u001b'))
  assert.match(stdout, /shop .* 12 ms .* 3 batches, 2.*KiB, 2 s/)
})

test('status tells people the essentials and scripts everything', async (t) => {
  const { operations, run } = await bench(t)
  await operations.put('climate', 'k', { a: 1 })
  assert.deepEqual(json((await run('status', '--json')).stdout), operations.status())
  const { stdout } = await run('status')
  for (const part of [
    'bench (me) in mesh green: running',
    'climate: 1 document, digest',
    '1 (bootstrap); ',
    'warning: kind-mismatch',
  ])
    assert.ok(stdout.includes(part), `${part} in ${stdout}`)
})

test('replicate begins, shows and ends transfers, and takes a peer by its name', async (t) => {
  const { operations, run } = await bench(t)
  const shown = await run('replicate', '--list')
  assert.match(shown.stdout, /readings +shop +p2 +behind +3 batches, 2.0 KiB, 20 s +0 +2026/)
  assert.deepEqual(json((await run('replicate', '--list', '--json')).stdout), operations.replications()[0])
  assert.match((await run('status')).stdout, /replicates readings to shop \(p2\): behind, lag 3 batches/)
  const twice = await run('replicate', 'readings', '--to', 'shop', '--json')
  assert.deepEqual([twice.code, /already-exists/.test(twice.stderr)], [73, true])
  const begun = await run('replicate', '*', '--to', 'p1', '--json')
  assert.deepEqual(json(begun.stdout), await operations.replicate('*', { to: 'p1' }))
  const ended = await run('replicate', 'readings', '--to', 'shop', '--partition', 'north', '--stop')
  assert.match(ended.stdout, /^readings\/north is replicated to shop \(p2\) no more; the last lag was 3 batches/)
  assert.equal((await run('replicate', 'readings', '--to', 'nobody')).code, 1)
})

test('invite passes on what was asked for', async (t) => {
  const { operations, run } = await bench(t)
  const { stdout } = await run('invite', '--role', 'reader', '--expires', '2h', '--uses', '3', '--json')
  assert.deepEqual(json(stdout), { token: 'marram1abc', expires: '2026-01-02T04:04:05.006Z' })
  assert.deepEqual(operations.invites, [{ role: 'reader', expiresMs: 7_200_000, uses: 3 }])
})

test('watch prints what matches now and then each change, until it is interrupted', async (t) => {
  const { dir, operations } = await bench(t)
  await operations.put('climate', 'a', { n: 1 })
  const main = join(import.meta.dirname, '../../runtime/cli/main.js')
  const child = spawn(process.execPath, [main, 'watch', 'climate', '--json', '--dir', dir])
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async (): Promise<unknown> => json(((await lines.next()) as { value: string }).value)
  assert.deepEqual(await next(), { change: 'enter', key: 'a', value: { n: 1 }, cursor: 'c0' })
  await next()
  operations.tell({ change: 'leave', key: 'a', value: {}, cursor: 'c9' })
  assert.deepEqual(await next(), { change: 'leave', key: 'a', value: {}, cursor: 'c9' })
  const ended = once(child, 'exit')
  child.kill('SIGINT')
  assert.deepEqual(await ended, [0, null])
})

test('watch of a gateway that stops ends with an error, not as if all was told', async (t) => {
  const { operations, run, server } = await bench(t)
  const watching = new Promise<void>((resolve) => {
    const watch = operations.watch.bind(operations)
    operations.watch = (collection, options) => {
      resolve()
      return watch(collection, options)
    }
  })
  const ended = run('watch', 'climate', '--json')
  await watching
  await server.close()
  const { code, stderr } = await ended
  assert.deepEqual([code, (json(stderr) as { error: { code: string } }).error.code], [1, 'closed'])
})

test('what export writes, import reads back equal: NDJSON and CSV', async (t) => {
  const { operations, run, file } = await bench(t)
  const documents = { 'a/b c': { t: 21.5, s: '5', b: true }, ü: { list: [1, 'x'], text: 'two\nlines, "quoted"' } }
  for (const [key, value] of Object.entries(documents)) await operations.put('climate', key, value)
  for (const name of ['out.ndjson', 'out.csv']) {
    const path = file(name, 'what was there before')
    assert.equal((await run('export', 'climate', path)).code, 0)
    const copy = name.replace('.', '-')
    assert.deepEqual(json((await run('import', copy, path, '--json')).stdout), { imported: 2, skipped: 0 })
    assert.deepEqual(Object.fromEntries(operations.collections.get(copy) ?? []), documents)
  }
  assert.match((await run('export', 'climate')).stdout, /^\{"key":"a\/b c"/)
  assert.match((await run('export', 'climate', '--format', 'csv')).stdout, /^key,b,list,s,t,text\n/)
})

test('an export that fails leaves the file that was there, and no half of a new one', async (t) => {
  const { operations, run, file } = await bench(t)
  const path = file('out.ndjson', 'the export of yesterday')
  operations.list = function* () {
    yield { key: 'a', value: { text: 'x'.repeat(200_000) } }
    throw new MarramError('storage-io', 'Cannot read the page')
  }
  const { code, stderr } = await run('export', 'climate', path)
  assert.deepEqual([code, stderr], [74, 'marram: Cannot read the page\n'])
  assert.equal(readFileSync(path, 'utf8'), 'the export of yesterday')
  assert.equal(existsSync(`${path}.partial`), false)
})

test('an export to where nothing can be written says so', async (t) => {
  const { run } = await bench(t)
  const { code, stderr } = await run('export', 'climate', '/nowhere/out.ndjson')
  assert.equal(code, 73)
  assert.match(stderr, /Cannot write "\/nowhere\/out\.ndjson": there is no such file or folder/)
})

test('import names bad lines by their numbers in the file, takes the others, and ends with 1', async (t) => {
  const { operations, run, file } = await bench(t)
  const path = file('in.csv', 'key,t\na,1\nb,2,3\n"c\nd",4\n,5\ne,6\n')
  const { code, stdout, stderr } = await run('import', 'climate', path)
  assert.equal(code, 1)
  assert.match(stdout, /^3 documents imported, 2 lines skipped, \d+ documents\/s\n$/)
  assert.match(stderr, /line 3 of .* is skipped: "3" is in a column that has no name/)
  assert.match(stderr, /line 6 of .* is skipped: Cannot read the line: it must have a "key"/)
  assert.deepEqual([...(operations.collections.get('climate')?.keys() ?? [])], ['a', 'c\nd', 'e'])
})

test('an import that is cut short says where to go on, and --skip goes on there', async (t) => {
  const { operations, run, file } = await bench(t)
  const lines = Array.from({ length: 10 }, (_, i) => `{"key":"k${i}","n":${i}}`)
  const path = file('in.ndjson', lines.join('\n'))
  operations.beforeWrite = (key) => {
    if (key === 'k6') throw new MarramError('storage-full', 'Cannot write: the disk is full')
  }
  const { code, stderr } = await run('import', 'climate', path)
  assert.equal(code, 74)
  assert.equal(stderr, 'marram: go on with --skip 6\nmarram: Cannot write: the disk is full\n')
  operations.beforeWrite = () => {}
  assert.deepEqual(json((await run('import', 'climate', path, '--skip', '6', '--json')).stdout), {
    imported: 4,
    skipped: 0,
  })
  assert.equal(operations.count('climate'), 10)
})

test('import into what can not be written is refused once, whatever the file has', async (t) => {
  const { operations, run, file } = await bench(t)
  const path = file('in.ndjson', '{"key":"a","n":1}\n'.repeat(50))
  operations.checkWritable = () => {
    throw new MarramError('bad-request', 'Cannot use "Climate!" as a collection')
  }
  const { code, stdout, stderr } = await run('import', 'Climate!', path)
  assert.deepEqual([code, stdout, stderr], [1, '', 'marram: Cannot use "Climate!" as a collection\n'])
  assert.equal(operations.collections.size, 0)
})

test('import reads standard input, and refuses what it cannot read', async (t) => {
  const { dir, operations, run } = await bench(t)
  await marram(['import', 'climate', '-', '--dir', dir], '{"key":"a","n":1}\n')
  assert.equal(operations.count('climate'), 1)
  assert.equal((await run('import', 'climate', join(dir, 'none.ndjson'))).code, 1)
  mkdirSync(join(dir, 'folder.csv'))
  const { code, stderr } = await run('import', 'climate', join(dir, 'folder.csv'))
  assert.equal(code, 74)
  assert.match(stderr, /^marram: Cannot import ".*folder\.csv": it is a folder$/m)
})

test('profile validate says where what is wrong and ends with 78; set hands a valid one to the gateway', async (t) => {
  const { operations, run, file } = await bench(t)
  const bad = await run(
    'profile',
    'validate',
    file('bad.json', '{\n  "schemaVersion": 1,\n  "id": "x",\n  "brokr": {}\n}'),
  )
  assert.equal(bad.code, 78)
  assert.match(bad.stderr, /4.*brokr.*broker/s)
  const good = file('good.json', '{"schemaVersion":1,"id":"x","revision":4}')
  assert.equal((await run('profile', 'validate', good)).code, 0)
  assert.match((await run('profile', 'set', good)).stdout, /revision 4 .* restart: broker\.listen/)
  assert.equal((operations.profiles[0] as { id: string }).id, 'x')
  assert.deepEqual(json((await run('profile', 'show', '--json')).stdout), operations.profile())
  assert.match((await run('profile', 'schema', '--json')).stdout, /draft-07/)
})

test('users are added, changed, listed and removed; one wrong filter changes nothing', async (t) => {
  const { dir, run } = await bench(t)
  const added = json((await run('user', 'add', 'plug', '--topics', 'tele/#', '--json')).stdout) as { password: string }
  assert.match(added.password, /^[\w-]{16}$/)
  const wrong = await run('user', 'add', 'lamp', '--topics', 'tele/#/x')
  assert.equal(wrong.code, 1)
  assert.equal((await run('user', 'add', '../x', '--topics', 'a')).code, 1)
  const listed = (await run('user', 'list', '--json')).stdout
  assert.equal(listed, '{"user":"plug","topics":["tele/#"]}\n')
  assert.ok(!readFileSync(join(dir, 'users.json'), 'utf8').includes(added.password))
  const chosen = await marram(
    ['user', 'add', 'plug', '--topics', 'b', '--password', '-', '--json', '--dir', dir],
    'pass\n',
  )
  assert.deepEqual(json(chosen.stdout), { user: 'plug', password: 'pass', topics: ['b'] })
  assert.equal((await run('user', 'remove', 'plug')).code, 0)
  assert.equal((await run('user', 'remove', 'plug')).code, 1)
})
