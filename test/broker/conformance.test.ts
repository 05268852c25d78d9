import { test } from 'node:test'
import abstractPersistence from 'aedes-persistence/abstract.js'
import { DurablePersistence } from '../../runtime/broker/persistence.ts'
import { createMemoryStore } from '../../runtime/store/memory.ts'

/** What aedes expects of any persistence. */
abstractPersistence({
  test,
  testAsync: true,
  persistence: () =>
    new DurablePersistence({
      store: createMemoryStore(),
      limits: { sessionsMax: 1_000, maxQueued: 10_000, maxQueuedBytes: 1_048_576, expiryMs: 86_400_000 },
      onDropped: () => {},
      onForgotten: () => {},
      onDamaged: () => {},
    }),
})
