/** The embedded MQTT broker as the other rooms see it: what clients send comes to a handler, what we say goes to clients. */

export interface ClientMessage {
  readonly topic: string
  /** Valid until the handler's promise settles; copy to keep. */
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly clientId: string
  readonly user: string | null
}

export interface OutgoingMessage {
  readonly topic: string
  readonly payload: Uint8Array | string
  readonly qos: 0 | 1
  readonly retain: boolean
}

/** Supplied by the composition root. */
export interface BrokerHandler {
  /**
   * A publish of an ordinary client, before any subscriber sees it. PUBACK (PUBREC) waits for the promise. `forward`:
   * hand it on to local subscribers as well (and keep it if retained); `consume`: it is dealt with. A rejection withholds
   * the acknowledgement and ends the connection, so that the device sends it again: only for what may pass (storage-full).
   */
  publish(message: ClientMessage): Promise<'forward' | 'consume'>
  /**
   * Documents that a new subscription to `filter` (under `marram/data/`) is answered with first, as retained messages,
   * made one by one as the client takes them.
   */
  retained(filter: string): Iterable<{ readonly topic: string; readonly payload: Uint8Array | string }>
}

export interface Broker {
  /** To every local subscriber; resolves when it is stored where QoS 1 or retain ask for that. */
  publish(message: OutgoingMessage): Promise<void>
  /** True when some client's subscription may match topics under `marram/data/<collection>/`: saves making JSON for nobody. */
  isWatched(collection: string): boolean
  /** The addresses it really listens on, as `mqtt://host:port`. */
  listeners(): readonly string[]
  /** TLS listeners show this to connections from now on; PEM. */
  useCredentials(tls: { readonly key: string; readonly certificate: string }): void
  status(): BrokerStatus
  close(): Promise<void>
}

export interface BrokerStatus {
  readonly clients: number
  readonly sessions: number
  readonly retained: number
  readonly queuedMessages: number
  readonly queuedBytes: number
}

/**
 * How frames of neighbours pass through the embedded broker (protocol D22). A neighbour logs in with its peer id as the
 * user name; it may publish to `marram/sync/<mesh8>/<me or "broker">/<itself>` and subscribe to
 * `marram/sync/<mesh8>/<itself>/+`, nothing else.
 */
export interface FrameGate {
  /** Checks a neighbour's login ("knock"); `clientId` is 23 random characters. `join` logins carry an invite id. */
  admit(login: { user: string; password: Uint8Array; clientId: string }): boolean
  /** A frame that `from` sent to us. */
  receive(from: FramePeer, payload: Uint8Array): void
  gone(from: FramePeer): void
}

/** One connected neighbour at our broker. */
export interface FramePeer {
  /** Its user name: a peer id, or `join`; not proven before the handshake is done. */
  readonly user: string
  /** The last segment of the topic it publishes to: the peer id it claims. */
  readonly source: string
  /** Publishes to `marram/sync/<mesh8>/<source>/<me>`. False when the connection is gone or its socket is full. */
  send(payload: Uint8Array): boolean
  disconnect(): void
}
