import { Mdns } from '../../runtime/discovery/mdns.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { TestNetwork } from './network.ts'

const NAME = 'q'.repeat(23)

/** The packet that a gateway of that mesh announces itself with; `pass` lets some seconds go by. */
export async function announcementOf(mesh8: string, pass: () => Promise<void>): Promise<Buffer> {
  const host = new TestNetwork().host('10.9.9.9')
  const mdns = new Mdns({
    network: host,
    mesh8,
    peerId: NAME,
    cell: null,
    listener: { protocol: 'mqtt', host: '::', port: 1883 },
    onHint: () => {},
    isSeeking: () => true,
    random: () => 0.5,
    log: SILENT_LOG,
    monotonicMs: () => Date.now(),
  })
  mdns.start()
  await pass()
  const sent = host.sent.find(({ packet }) => ((packet[2] as number) & 0x80) !== 0)
  if (!sent) throw new Error('Cannot forge announcements: a gateway announced nothing')
  await Promise.all([mdns.close(), pass()])
  return sent.packet
}

/** Of another gateway: its name is a peer id, which is as long for everyone. */
export function renamed(packet: Buffer, i: number): Buffer {
  const name = i.toString(32).replaceAll(/[01]/g, 'z').replaceAll(/[89]/g, 'y').padStart(23, 'a')
  return Buffer.from(packet.toString('latin1').replaceAll(NAME, name), 'latin1')
}

/** The same with a header that claims so many records as there is room for: decoding it costs what it claims. */
export function countless(packet: Buffer): Buffer {
  const forged = Buffer.from(packet)
  forged.writeUInt16BE(65_535, 6)
  return forged
}
