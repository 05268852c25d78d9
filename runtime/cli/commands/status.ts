import type { Command } from 'commander'
import type { ClockStatus, PeerView, StatusView } from '../../ports/operations.ts'
import { amountText, batchesText, spanText } from '../amount.ts'
import { sizeText } from '../size.ts'
import { ask, run } from '../context.ts'
import { lagText } from '../lag.ts'
import { table } from '../table.ts'
import { standingText, whatOf, whoOf } from './replicate.ts'

const PEER_COLUMNS = [
  'NAME',
  'PEER',
  'CELL',
  'STATE',
  'QUALITY',
  'LATENCY',
  'LINKS',
  'LAG',
  'LAST CONTACT',
  'KNOWN FROM',
]

export function addStatusCommands(program: Command): void {
  program
    .command('status')
    .description('show how the gateway is')
    .addHelpText('after', '\nExample:\n  marram status --json')
    .action((_options: object, command: Command) =>
      run(command, async (context) => {
        const status = await ask(
          context,
          () => context.client.json('GET', 'status') as Promise<StatusView>,
          (gateway) => gateway.status(),
        )
        context.print(status, statusText(status))
      }),
    )
  program
    .command('peers')
    .description('show the other gateways, how they are linked and how far they are behind')
    .addHelpText('after', '\nExample:\n  marram peers')
    .action((_options: object, command: Command) =>
      run(command, async (context) => {
        const peers = (await context.client.json('GET', 'peers')) as PeerView[]
        if (context.isJson) for (const peer of peers) context.print(peer, '')
        else
          context.print(
            peers,
            peers.length === 0 ? 'no other gateway is known' : table(PEER_COLUMNS, peers.map(peerRow)),
          )
      }),
    )
}

function statusText(status: StatusView): string {
  const { storage } = status
  const collections = Object.entries(status.collections).map(
    ([name, { kind, count, digest }]) =>
      `  ${name}: ${amountText(count, kind === 'series' ? 'row' : 'document')}, digest ${digest.slice(0, 16)}…`,
  )
  const lines = [
    `${status.name || status.peerId} (${status.peerId}) in mesh ${status.mesh}: ${status.state}${status.enrolled ? '' : ', not enrolled'}`,
    `profile ${status.profile.id} revision ${status.profile.revision}, version ${status.version}`,
    `keeps ${status.interest.join(', ') || 'nothing'}`,
    ...(status.state === 'offline' ? [] : runningLines(status)),
    ...status.replications.map((each) => `replicates ${whatOf(each)} to ${whoOf(each)}: ${standingText(each)}`),
    `storage ${sizeText(storage.bytes)}${storage.freeBytes === null ? '' : `, ${sizeText(storage.freeBytes)} free`}`,
    ...refusedLine(status.quarantine),
    collections.length === 0 ? 'no documents yet' : 'collections:',
    ...collections,
    ...encryptionLines(status.encryption),
    ...status.warnings.map((warning) => `warning: ${warning}`),
  ]
  return lines.join('\n')
}

/** What a gateway that doesn't run has none of. */
function runningLines(status: StatusView): string[] {
  const { queue, clock } = status
  return [
    `up ${spanText(status.uptime)}, memory ${sizeText(status.memory.rss)}`,
    `listens on ${status.listeners.join(', ') || 'nothing'}`,
    ...(status.certificate === null
      ? []
      : [`certificate SHA-256 ${status.certificate}; "marram certificate" prints it for devices`]),
    `cell ${status.cell || 'not known yet'}${traitsText(status)}`,
    `links ${status.links.up} up, ${status.links.wanted} wanted, ${sizeText(status.links.bytesSent)} sent, ${sizeText(status.links.bytesReceived)} received; lag ${lagText(status.lag)}`,
    ...budgetLine(status.links.budget),
    discoveryText(status.discovery),
    `queue ${amountText(queue.writes, 'write')}, ${amountText(queue.messages, 'MQTT message')} for absent clients; on no other gateway's disk: ${lagText(queue.unconfirmed)}`,
    clockText(clock),
  ]
}

function encryptionLines(encryption: StatusView['encryption']): string[] {
  return Object.entries(encryption).map(([name, { epoch, readable, waiting, held }]) => {
    const key = epoch === null ? 'no key yet' : `epoch ${epoch}, ${readable ? 'readable here' : 'not readable here'}`
    return `encrypted: ${name}, ${key}${waiting === 0 ? '' : `, ${amountText(waiting, 'batch waits', 'batches wait')} for a key`}${held === 0 ? '' : `, ${amountText(held, 'write of devices is', 'writes of devices are')} held for it`}`
  })
}

function clockText({ class: trust, source, offsetMs, aheadMs }: ClockStatus): string {
  const offset =
    Math.abs(offsetMs) < 1_000
      ? ''
      : `, ${spanText(Math.abs(offsetMs) / 1_000)} ${offsetMs < 0 ? 'behind' : 'ahead of'} the system's`
  return `clock class ${trust} by ${source}${offset}${aheadMs > 0 ? `, stamps ${aheadMs} ms ahead` : ''}`
}

function budgetLine(budget: StatusView['links']['budget']): string[] {
  if (budget === null) return []
  const { bytesPerSecond, bytesPerDay, sentToday, dayEndsIn } = budget
  const rate = bytesPerSecond === null ? '' : `, ${sizeText(bytesPerSecond)} a second at most`
  const day = bytesPerDay === null ? '' : ` of ${sizeText(bytesPerDay)}`
  return [`budget ${sizeText(sentToday)}${day} sent today, which ends in ${Math.ceil(dayEndsIn / 60)} min${rate}`]
}

function refusedLine({ batches, messages }: StatusView['quarantine']): string[] {
  if (batches + messages === 0) return []
  return [
    `refused for good: ${batchesText(batches)}, ${amountText(messages, 'message')}; "marram quarantine" lists them`,
  ]
}

function peerRow(peer: PeerView): string[] {
  const latency = peer.latencyMs === null ? '-' : `${peer.latencyMs} ms`
  return [
    peer.name,
    peer.peerId,
    placeText(peer),
    stateText(peer),
    peer.quality === null ? '-' : String(peer.quality),
    latency,
    peer.links === null ? '-' : String(peer.links),
    peer.lag ? lagText(peer.lag) : '-',
    peer.lastContact ?? 'never',
    peer.addresses.map(({ address, from }) => `${address} (${from.join(', ')})`).join(' ') || '-',
  ]
}

function placeText(peer: PeerView): string {
  return peer.cell === null ? '-' : `${peer.cell}${traitsText(peer)}`
}

function traitsText({ bridge, superPeer }: Pick<PeerView, 'bridge' | 'superPeer'>): string {
  return `${bridge ? ', bridge' : ''}${superPeer ? ', super-peer' : ''}`
}

function stateText({ state, link, reachable }: PeerView): string {
  if (state === 'up') return link?.relay ? 'up by relay' : 'up'
  return reachable ? 'over others' : 'out of reach'
}

function discoveryText({ addresses, mdns }: StatusView['discovery']): string {
  const known = Object.entries(addresses).map(([source, count]) => `${count} (${source})`)
  const heard = mdns === null ? 'off' : `on ${mdns.interfaces.join(', ') || 'no interface'}`
  return `addresses of other gateways: ${known.join(', ') || 'none'}; multicast DNS ${heard}`
}
