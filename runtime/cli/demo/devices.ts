import { openPublisher, type Publisher } from '../../mesh/publisher.ts'

/** Simulated sensors that speak as Zigbee2MQTT and Tasmota do, to one gateway's broker, and remember what was acknowledged. */
export interface Device {
  readonly collection: string
  readonly key: string
  /** Field that counts the device's messages, and the count of the last one that was acknowledged. */
  readonly field: string
  acknowledged: number
}

const INTERVAL_MS = 250

export class SimulatedDevices {
  readonly devices: Device[] = []
  acknowledged = 0
  readonly #publishers: Publisher[] = []
  readonly #timers: NodeJS.Timeout[] = []
  readonly #underWay = new Set<Promise<void>>()

  /** `names[i]` is the device's name, `kind` its software. */
  async add(port: number, kind: 'zigbee2mqtt' | 'tasmota', names: readonly string[]): Promise<void> {
    const publisher = await openPublisher({ host: '127.0.0.1', port }, `demo-${kind}-${port}`)
    this.#publishers.push(publisher)
    for (const name of names) {
      const device: Device =
        kind === 'zigbee2mqtt'
          ? { collection: 'climate', key: name, field: 'message', acknowledged: 0 }
          : { collection: 'plugs', key: name, field: 'ENERGY.Message', acknowledged: 0 }
      this.devices.push(device)
      let count = 0
      this.#timers.push(setInterval(() => this.#send(publisher, kind, device, ++count), INTERVAL_MS))
    }
  }

  /** Resolves when everything that was sent is acknowledged. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await Promise.allSettled(this.#underWay)
    for (const publisher of this.#publishers) await publisher.close()
  }

  #send(publisher: Publisher, kind: 'zigbee2mqtt' | 'tasmota', device: Device, count: number): void {
    const wave = Math.round((20 + 3 * Math.sin(count / 20)) * 10) / 10
    const [topic, message] =
      kind === 'zigbee2mqtt'
        ? [
            `zigbee2mqtt/${device.key}`,
            { temperature: wave, humidity: 50 - (count % 10), linkquality: 90, message: count },
          ]
        : [
            `tele/${device.key}/SENSOR`,
            {
              Time: new Date().toISOString().slice(0, 19),
              ENERGY: { Power: Math.round(wave * 4), Voltage: 230, Message: count },
            },
          ]
    const sent = publisher
      .publish(topic, JSON.stringify(message))
      .then(() => {
        this.acknowledged += 1
        device.acknowledged = Math.max(device.acknowledged, count)
      })
      .catch(() => {})
      .finally(() => this.#underWay.delete(sent))
    this.#underWay.add(sent)
  }
}
