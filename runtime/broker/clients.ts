import type { Socket } from 'node:net'
import type { Client, PublishPacket } from 'aedes'
import type { PacketLengthGuard } from '../wire/packet-length.ts'
import type { FrameConnection } from './frames.ts'
import type { Lane } from './publishing.ts'
import {
  isCovered,
  isReservedForForward,
  isReservedForPublish,
  isReservedForSubscribe,
  isTopic,
  matches,
} from './topics.ts'

/** An ordinary client, as it logged in. Null topics: all that aren't reserved. */
export interface DeviceLogin {
  readonly kind: 'device'
  /** Null for an anonymous client. */
  readonly user: string | null
  /** MQTT topic filters. */
  readonly publish: readonly string[] | null
  readonly subscribe: readonly string[] | null
}

/** Another gateway, or somebody with an invite. */
export interface GatewayLogin {
  readonly kind: 'gateway'
  readonly user: string
  readonly frames: FrameConnection
}

export type Login = DeviceLogin | GatewayLogin

/** Why a CONNECT is answered with no: a return code of [MQTT-3.2.2.3], and a reason for the log. */
export interface Refusal {
  readonly returnCode: 2 | 3 | 4 | 5
  readonly reason: string
}

/** aedes's client, with what we keep of it. */
export interface BrokerClient extends Client {
  conn: Socket
  duplicates: object
  /** aedes's own: what is granted, by filter. */
  readonly subscriptions: { readonly [filter: string]: { readonly qos: number } }
  /** aedes's own: gives it a message as if it had just been published. */
  deliverQoS(packet: RoutedPacket, done: () => void): void
  /** aedes's own: the packet identifier that it takes next. */
  _nextId: number
  /** Found in its CONNECT before the login is looked at. */
  refusal?: Refusal
  login?: Login
  lengths: PacketLengthGuard
  /** Filters granted and bounded in number; aedes's own list follows later. */
  filters: Set<string>
  lane: Lane
}

export interface UnnamedPacket {
  readonly topic: string
  readonly payload: Uint8Array | string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

/** A message on its way to subscribers; aedes names it by broker and counter. */
export interface RoutedPacket extends PublishPacket {
  readonly brokerId: string
  readonly brokerCounter: number
}

export function mayPublish({ publish }: DeviceLogin, topic: string): boolean {
  return (
    isTopic(topic) &&
    !isReservedForPublish(topic) &&
    (publish === null || publish.some((filter) => matches(filter, topic)))
  )
}

export function maySubscribe({ subscribe }: DeviceLogin, filter: string): boolean {
  return !isReservedForSubscribe(filter) && (subscribe === null || subscribe.some((by) => isCovered(filter, by)))
}

/** Looked at for every message, because a session may hold subscriptions that its login has lost since. */
export function mayReceive({ subscribe }: DeviceLogin, topic: string): boolean {
  return !isReservedForForward(topic) && (subscribe === null || subscribe.some((filter) => matches(filter, topic)))
}

/** The greatest QoS granted among the subscriptions that match [MQTT-3.3.5-1]. */
export function grantedQos({ subscriptions }: BrokerClient, topic: string): number {
  let granted = 0
  for (const filter in subscriptions) {
    const { qos } = subscriptions[filter] as { qos: number }
    if (qos > granted && matches(filter, topic)) granted = qos
  }
  return granted
}

/** Addresses that are this machine's own. */
export function isLoopback(address: string | undefined): boolean {
  return address === '::1' || (address?.replace(/^::ffff:/, '').startsWith('127.') ?? false)
}

/**
 * aedes drops a QoS 1 or 2 message that a later one overtook on its way through the persistence (moscajs/aedes#994):
 * its memory of what was delivered must always look empty. Costs a duplicate for overlapping subscriptions only.
 */
export function forgetDuplicates(client: BrokerClient): void {
  client.duplicates = new Proxy(Object.create(null) as object, {
    get: () => 0,
    set: () => true,
    deleteProperty: () => true,
  })
}
