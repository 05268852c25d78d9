import { BROKER_LIMITS } from '../base/limits.ts'

/**
 * QoS 2 messages that clients have sent and not released yet [MQTT-4.3.3-2], so that a repetition is known as one, on the
 * same connection or a later one. In memory only: after a restart a message whose PUBREC was lost may be heard twice. At
 * the bound the client that was first in the table is forgotten.
 */
export class Unreleased<P extends { readonly messageId?: number | undefined }> {
  readonly #clients = new Map<string, Map<number, P>>()
  #count = 0

  add(clientId: string, packet: P & { readonly messageId: number }): void {
    const packets = this.#clients.get(clientId) ?? new Map<number, P>()
    this.#clients.set(clientId, packets)
    if (!packets.has(packet.messageId)) this.#count += 1
    packets.set(packet.messageId, packet)
    for (const oldest of this.#clients.keys()) {
      if (this.#count <= BROKER_LIMITS.unreleasedMax) return
      this.forget(oldest)
    }
  }

  get(clientId: string, messageId: number): P | undefined {
    return this.#clients.get(clientId)?.get(messageId)
  }

  delete(clientId: string, messageId: number): boolean {
    const packets = this.#clients.get(clientId)
    if (!packets?.delete(messageId)) return false
    this.#count -= 1
    if (packets.size === 0) this.#clients.delete(clientId)
    return true
  }

  forget(clientId: string): void {
    this.#count -= this.#clients.get(clientId)?.size ?? 0
    this.#clients.delete(clientId)
  }
}
