import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { announcementOf, countless, renamed } from '../discovery/forged.ts'

/** Sends so many forged announcements of a mesh from one address, each of another gateway, half of them bombs. */
const [mesh8 = '', from = '', count = ''] = process.argv.slice(2)
const GROUP = '224.0.0.251'
const PORT = 5_353
const AT_ONCE = 100

const template = await announcementOf(mesh8, () => sleep(4_000))
const socket = createSocket({ type: 'udp4', reuseAddr: true })
socket.bind(0, from)
await once(socket, 'listening')
socket.setMulticastInterface(from)
for (let i = 0; i < Number(count); i++) {
  const packet = renamed(template, i)
  socket.send(i % 2 === 0 ? packet : countless(packet), PORT, GROUP)
  if (i % AT_ONCE === 0) await sleep(5)
}
socket.close()
