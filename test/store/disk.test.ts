import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DiskStore } from '../../runtime/store/disk-store.ts'
import { openTestStore } from './disk-fixture.ts'
import { testStore } from '../contract/store.ts'

const opened = new Map<object, string>()

for (const [name, encryptionKey] of [
  ['disk', null],
  ['encrypted disk', new Uint8Array(32).fill(7)],
] as const)
  testStore(name, {
    open: async () => {
      const dir = mkdtempSync(join(tmpdir(), 'marram-store-'))
      const store = await openTestStore(dir, { encryptionKey })
      opened.set(store, dir)
      return store
    },
    reopen: async (store) => {
      const dir = opened.get(store) as string
      await store.close()
      const next = await openTestStore(dir, { encryptionKey })
      opened.set(next, dir)
      return next
    },
    settle: (store) => (store as DiskStore).sweep(),
    discard: async (store) => {
      await store.close()
      rmSync(opened.get(store) as string, { recursive: true })
    },
  })
