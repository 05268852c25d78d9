import { connectAsync } from 'mqtt'
import type { HostPort } from '../profile/address.ts'

/** An ordinary MQTT client that publishes: what the demonstration's devices are made of. */
export interface Publisher {
  /** QoS 1; resolves when the broker has acknowledged it. */
  publish(topic: string, payload: string): Promise<void>
  close(): Promise<void>
}

export async function openPublisher({ host, port }: HostPort, clientId: string): Promise<Publisher> {
  const client = await connectAsync({ host, port, clientId, protocolVersion: 4, clean: true, reconnectPeriod: 500 })
  client.on('error', () => {})
  return {
    publish: async (topic, payload) => {
      await client.publishAsync(topic, payload, { qos: 1 })
    },
    close: () => new Promise((resolve) => client.end(true, () => resolve())),
  }
}
