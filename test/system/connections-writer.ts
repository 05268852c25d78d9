import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Opens so many connections to one port, as fast as it answers, and keeps every one that the other side keeps. */
const [host = '', port = '', count = ''] = process.argv.slice(2)
const AT_ONCE = 500
const HOLD_MS = 1_000

const held = new Set<Socket>()
let opened = 0

function open(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(Number(port), host)
    socket.on('connect', () => {
      opened += 1
      held.add(socket)
      resolve()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      held.delete(socket)
      resolve()
    })
  })
}

for (let i = 0; i < Number(count); i += AT_ONCE) {
  await Promise.all(Array.from({ length: AT_ONCE }, open))
  // What is turned away is gone a moment later.
  await sleep(100)
}
await sleep(HOLD_MS)
console.log(JSON.stringify({ opened, held: held.size }))
process.exit(0)
