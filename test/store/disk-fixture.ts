import assert from 'node:assert/strict'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import type { DiskStore } from '../../runtime/store/disk-store.ts'
import { openStore, type StoreOptions } from '../../runtime/store/open.ts'
import { MESH_ID } from '../contract/author.ts'

/** A small ring and no throttle: tests wait for nothing but the disk. */
export function openTestStore(dir: string, options: Partial<StoreOptions> = {}): Promise<DiskStore> {
  return openStore({
    dir,
    meshId: MESH_ID,
    log: SILENT_LOG,
    onFatal: (error) => assert.fail(error),
    flushesPerSecond: 100_000,
    reserveFreeBytes: 0,
    ballastBytes: 0,
    mayEncrypt: true,
    ring: { segments: 3, segmentBytes: 256 * 1024 },
    ...options,
  })
}
