import type { Quarantine } from '../operations/quarantine.ts'
import type { Log } from '../ports/log.ts'
import type { EngineEvent } from '../sync/types.ts'
import type { Devices } from './devices.ts'
import type { Linking } from './linking.ts'
import type { Members } from './members.ts'
import type { Replication } from './replication.ts'
import type { Running } from './running.ts'
import type { Succession } from './succession.ts'

/** The rooms of a gateway that what its engine tells may concern. */
export interface ConcernedRooms {
  readonly members: Members
  readonly linking: Linking
  readonly running: Running
  readonly replication: Replication
  readonly succession: Succession
  readonly quarantine: Quarantine
  readonly devices: Devices
  readonly log: Log
}

/** The others are warnings. */
const QUIET_EVENTS: ReadonlySet<EngineEvent> = new Set<EngineEvent>([
  'peer-up',
  'peer-down',
  'resync',
  'compacted',
  'jumped',
  'left',
])

/** Tells what the engine has found to the rooms that it concerns, and to the gateway's owner and devices. */
export class EngineEvents {
  readonly #rooms: ConcernedRooms

  constructor(rooms: ConcernedRooms) {
    this.#rooms = rooms
  }

  handle(name: EngineEvent, fields: { readonly [name: string]: unknown }): void {
    const { members, linking, running, replication, succession, quarantine, devices, log } = this.#rooms
    const { neighbours } = linking
    const peerId = String(fields['peerId'])
    if (name === 'farewell') return members.departure.heard(fields['evidence'] as readonly Uint8Array[])
    if (name === 'exchange') return neighbours.hear(peerId, fields['records'] as readonly Uint8Array[])
    const isDialled = running.mesh.isDialled(peerId)
    if (name === 'referral') return neighbours.referred(peerId, isDialled, fields['addresses'] as readonly string[])
    if (name === 'peer-up') {
      neighbours.peerUp(peerId, isDialled)
      replication.heard(peerId, String(fields['name']))
    }
    if (name === 'peer-down') neighbours.peerDown(peerId)
    log[QUIET_EVENTS.has(name) ? 'info' : 'warn'](name, fields)
    if (name === 'batch-refused' || name === 'reissue-refused') quarantine.addBatch(fields)
    if (name === 'batch-unreadable') quarantine.addBatch({ ...fields, why: 'unreadable', detail: fields['why'] })
    if (name === 'incarnation-lost') succession.lost(String(fields['why']))
    if (name === 'peer-up' || name === 'peer-down') devices.door.publishEvent(name, fields)
  }
}
