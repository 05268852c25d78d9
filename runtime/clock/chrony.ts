import { createSocket } from 'node:dgram'
import type { ClockProbe } from './probe.ts'

/**
 * Asks chronyd how it stands (`chronyc tracking`): the command protocol of chrony 2.2 and later, version 6, src/candm.h.
 * Numbers are big-endian; a request must be as long as its answer.
 */
const PORT = 323
const ANSWER_MS = 500
const VERSION = 6
const PACKET_REQUEST = 1
const PACKET_REPLY = 2
const REQUEST_TRACKING = 33
const REPLY_TRACKING = 5
const STATUS_SUCCESS = 0
const TRACKING_BYTES = 104
const LEAP_UNSYNCHRONISED = 3
/** 127.127.1.1: the clock itself, as the directive `local` has it; nobody vouches for that. */
const REFERENCE_ITSELF = 0x7f7f0101

export function chronyProbe(port: number = PORT): ClockProbe {
  return { source: 'chrony', look: () => askTracking(port).then(markOf) }
}

function askTracking(port: number): Promise<Uint8Array | null> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4')
    const end = (answer: Uint8Array | null): void => {
      clearTimeout(timer)
      socket.removeAllListeners('message')
      socket.close()
      resolve(answer)
    }
    const timer = setTimeout(() => end(null), ANSWER_MS)
    socket.once('error', () => end(null))
    socket.once('message', end)
    socket.connect(port, '127.0.0.1', (error?: Error) => {
      if (!error) socket.send(trackingRequest())
    })
  })
}

function trackingRequest(): Uint8Array {
  const request = new Uint8Array(TRACKING_BYTES)
  const view = new DataView(request.buffer)
  view.setUint8(0, VERSION)
  view.setUint8(1, PACKET_REQUEST)
  view.setUint16(4, REQUEST_TRACKING)
  return request
}

/** When chronyd last heard from its source; null unless it follows one. */
function markOf(answer: Uint8Array | null): string | null {
  if (answer === null || answer.length < TRACKING_BYTES) return null
  const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
  const isTracking =
    view.getUint8(0) === VERSION &&
    view.getUint8(1) === PACKET_REPLY &&
    view.getUint16(4) === REQUEST_TRACKING &&
    view.getUint16(6) === REPLY_TRACKING &&
    view.getUint16(8) === STATUS_SUCCESS
  if (!isTracking) return null
  const reference = view.getUint32(28)
  const leap = view.getUint16(54)
  if (leap === LEAP_UNSYNCHRONISED || reference === 0 || reference === REFERENCE_ITSELF) return null
  return `${view.getUint32(56)} ${view.getUint32(60)} ${view.getUint32(64)}`
}
