import { BROKER_LIMITS } from '../base/limits.ts'
import { grantedQos, mayReceive, type BrokerClient, type RoutedPacket } from './clients.ts'
import { nextId, type Queue } from './queue.ts'

/** `behind`: the client takes nothing for so long that only its end helps. */
export type Verdict = 'deliver' | 'drop' | 'behind'

/**
 * Whether a client gets a message now, and with which QoS and DUP: asked by aedes just before it writes, for a message
 * that was published and for one from the client's queue when it comes back. `queue` is that of a session that lasts.
 */
export function judgeDelivery(client: BrokerClient, packet: RoutedPacket, queue: Queue | undefined): Verdict {
  const { login } = client
  if (login?.kind === 'gateway') return 'deliver'
  if (!login || !mayReceive(login, packet.topic)) return 'drop'
  const granted = grantedQos(client, packet.topic)
  if (packet.messageId !== undefined) return resend(packet, packet.messageId, granted, queue)
  packet.qos = Math.min(packet.qos, granted) as 0 | 1 | 2
  if (packet.qos === 0) return client.conn.writableLength > BROKER_LIMITS.bufferedBytesMax ? 'drop' : 'deliver'
  // Already sent from the queue, by a connection that came meanwhile, or left out of it for want of room. And while the
  // client is still given what it missed, this waits in the queue behind that [MQTT-4.6.0-6].
  if (queue && !packet.retain && (!client.connected || !queue.isUnsent(packet))) return 'drop'
  if (queue && packet.retain && !numberRetained(client, packet, queue)) return 'drop'
  return client.conn.writableLength > BROKER_LIMITS.bufferedBytesEnd ? 'behind' : 'deliver'
}

/**
 * A retained message is in no queue: aedes would give it any identifier, also one under which the client still has a message of
 * the queue, and its acknowledgement would remove that.
 */
function numberRetained(client: BrokerClient, packet: RoutedPacket, queue: Queue): boolean {
  const messageId = queue.freeId(client._nextId)
  if (messageId === undefined) return false
  packet.messageId = messageId
  client._nextId = nextId(messageId)
  return true
}

/** What is in the queue stays there until it is acknowledged, so QoS 0 is none to send it with. */
function resend(packet: RoutedPacket, messageId: number, granted: number, queue: Queue | undefined): Verdict {
  if (granted > 0) packet.qos = Math.min(packet.qos, granted) as 1 | 2
  // [MQTT-3.3.1-1]
  packet.dup = queue?.isAgain(messageId) ?? false
  return 'deliver'
}
