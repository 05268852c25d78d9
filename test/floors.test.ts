import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { faultsOf, type House } from './floors.ts'

/** Which room of runtime/ is on which floor, and which packages and modules of Node it may use. */
const HOUSE: House = {
  base: { floor: 0, builtins: [], isPure: true },
  'version.ts': { floor: 0, builtins: [], isPure: true },
  model: { floor: 1, builtins: [], isPure: true },
  crypto: {
    floor: 1,
    builtins: ['node:crypto'],
    packages: ['@noble/ed25519', '@hpke/core', '@hpke/chacha20poly1305'],
    isPure: true,
  },
  wire: { floor: 2, builtins: ['node:buffer', 'node:zlib'], packages: ['cbor-x'], isPure: true },
  profile: { floor: 2, builtins: [], isPure: true },
  access: { floor: 2, builtins: [], isPure: true },
  ports: { floor: 3, builtins: [], isPure: true },
  sync: { floor: 4, builtins: [], isPure: true },
  topology: { floor: 4, builtins: [], isPure: true },
  discovery: { floor: 5, builtins: ['node:dgram', 'node:events', 'node:os'], packages: ['bonjour-service'] },
  store: { floor: 5, packages: ['lmdb'] },
  broker: { floor: 5, packages: ['aedes', 'aedes-persistence'] },
  mesh: { floor: 5, packages: ['mqtt'] },
  certificates: {
    floor: 5,
    builtins: ['node:crypto', 'node:net'],
    packages: ['@peculiar/x509', 'reflect-metadata'],
  },
  devices: { floor: 5, builtins: [] },
  identity: { floor: 5, builtins: ['node:fs', 'node:fs/promises', 'node:os', 'node:path'] },
  observe: { floor: 5, packages: ['pino'] },
  http: { floor: 5 },
  clock: { floor: 5, builtins: ['node:dgram', 'node:fs/promises', 'node:path'] },
  operations: { floor: 5, builtins: ['node:crypto'] },
  driver: { floor: 6, builtins: [] },
  gateway: { floor: 7 },
  'offline.ts': { floor: 7 },
  'backup.ts': { floor: 7 },
  'repair.ts': { floor: 7 },
  'setup.ts': { floor: 7 },
  'index.ts': { floor: 8 },
  cli: { floor: 8, packages: ['commander'] },
}

test('every room of the program keeps to its floor, its packages and its modules of Node', () => {
  assert.deepEqual(faultsOf(join(import.meta.dirname, '../../runtime'), HOUSE), [])
})

describe('what holds the floors', () => {
  const house: House = {
    low: { floor: 0, builtins: [], isPure: true },
    beside: { floor: 1 },
    high: { floor: 1, packages: ['lmdb'] },
  }
  let root: string
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'marram-floors-'))
    for (const room of Object.keys(house)) plant(`${room}/room.ts`, '')
  })
  afterEach(() => rmSync(root, { recursive: true }))

  function plant(path: string, source: string): void {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), source)
  }

  test('says nothing of imports from lower floors, from the same room, and of packages that are the room’s', () => {
    plant(
      'high/deep/a.ts',
      "import { a } from '../../low/room.ts'\nimport b from '../room.ts'\nimport { open } from 'lmdb'",
    )
    assert.deepEqual(faultsOf(root, house), [])
  })

  const planted: readonly [string, string, string, string][] = [
    [
      'upwards',
      'low/a.ts',
      "import type { A } from '../high/room.ts'",
      'imports high, which is on floor 1 and not below floor 0',
    ],
    [
      'sideways',
      'high/a.ts',
      "export * from '../beside/room.ts'",
      'imports beside, which is on floor 1 and not below floor 1',
    ],
    [
      'of another room’s package',
      'beside/a.ts',
      "import { open } from 'lmdb'",
      'imports lmdb, a package of another room',
    ],
    [
      'over several lines',
      'low/a.ts',
      "import {\n  a,\n} from '../high/room.ts'",
      'imports high, which is on floor 1 and not below floor 0',
    ],
    [
      'for its effect alone',
      'low/a.ts',
      "import '../high/room.ts'",
      'imports high, which is on floor 1 and not below floor 0',
    ],
    [
      'while running',
      'low/a.ts',
      "await import('../high/room.ts')",
      'imports high, which is on floor 1 and not below floor 0',
    ],
    ['of what a variable names', 'low/a.ts', 'await import(path)', 'imports what is only known when it runs'],
    [
      'of a module of Node',
      'low/a.ts',
      "import { readFileSync } from 'node:fs'",
      'imports node:fs, which its room may not',
    ],
    ['from outside the house', 'high/a.ts', "import { a } from '../nowhere/a.ts'", 'imports nowhere, which is no room'],
  ]
  for (const [kind, path, source, fault] of planted) {
    test(`reports an import ${kind}`, () => {
      plant(path, source)
      assert.deepEqual(faultsOf(root, house), [`${path} ${fault}`])
    })
  }

  test('reports a clock in a pure room, and no comment about one', () => {
    plant('low/a.ts', 'export const at = Date.now()')
    plant('low/b.ts', "// Date.now() is not asked here, see 'http://example.org'.\n/** Nor is Math.random. */")
    assert.deepEqual(faultsOf(root, house), ['low/a.ts uses Date.now, which a pure room may not'])
  })

  test('reports a room that is missing, one that is not in the table, and a program that is not there', () => {
    rmSync(join(root, 'beside'), { recursive: true })
    plant('attic/a.ts', '')
    assert.deepEqual(faultsOf(root, house), [
      'beside is in the table and not in the program',
      'attic is in the program and not in the table',
    ])
    assert.equal(faultsOf(join(root, 'nowhere'), house).length, Object.keys(house).length)
  })
})
