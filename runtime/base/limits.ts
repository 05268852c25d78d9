/**
 * The bounds of everything that can grow, with their units. What happens at a bound is said beside it. Protocol limits are
 * the same on every gateway (SPEC); the others are this gateway's own.
 */
/** Limits that all gateways must agree on: what is over them is malformed. */
export const PROTOCOL_LIMITS = {
  /** One encrypted frame on a link, in bytes; larger ones are dropped unread. */
  frameBytesMax: 65_536,
  /** One batch as transmitted (envelope and body), in bytes. */
  batchBytesMax: 49_152,
  /** So that its length takes one byte: what is read of a stored batch without decoding it stands at fixed places. */
  batchHeaderBytesMax: 255,
  /** The last sequence of a feed: one more is still an exact number, which a WANT may name. */
  sequenceMax: 9_007_199_254_740_990,
  /** A body after inflating, in bytes; beyond the bytes that are always allowed, its greatest ratio to the transmitted body. */
  bodyBytesMax: 1_048_576,
  inflateRatioMax: 64,
  inflateBytesAlways: 131_072,
  opsPerBatchMax: 1024,
  /** One field's value, encoded, in bytes: larger things are blobs. */
  valueBytesMax: 32_768,
  valueDepthMax: 16,
  messageDepthMax: 8,
  itemsPerMessageMax: 65_536,
  documentKeyBytesMax: 512,
  fieldPathBytesMax: 256,
  partitionBytesMax: 64,
  labelBytesMax: 64,
  fieldsPerDocumentMax: 1024,
  /** What a gateway says of itself (wire/address-record.ts), in bytes; its addresses, in UTF-16 units; its links. */
  addressRecordBytesMax: 8_192,
  addressesPerRecordMax: 4,
  addressLengthMax: 128,
  linksPerRecordMax: 256,
} as const

/** Limits of one gateway. */
export const GATEWAY_LIMITS = {
  /** Links of a gateway, and of a super-peer. */
  linksMax: 32,
  superLinksMax: 256,
  feedsMax: 16_384,
  feedsPerOriginMax: 1_000,
  /** Bytes of DATA a neighbour may have under way to us before we have stored them. */
  creditBytes: 1_048_576,
  /** Neighbours whose holdings are remembered; of more the one that was silent longest is forgotten. */
  peersKnownMax: 256,
  /** Feeds that the record of one neighbour's holdings names one by one. */
  heldFeedsMax: 256,
  /** Feeds of one link that its cursor may pass although they are refused; with more it stays where it is. */
  lackingMax: 256,
  /** What is looked at of each member that tells what others have said, sound or not, in bytes. */
  testimonyBytesMax: 1_048_576,
  /** Writes that wait for other gateways to confirm them; further ones are refused with `overloaded` before they are made. */
  confirmationsMax: 4_096,
  confirmationMsMax: 86_400_000,
  /** Local writes waiting for a batch, in operations; further ones are refused with `overloaded`. */
  pendingWritesMax: 65_536,
  /** Memory table of the store, in bytes: at three quarters a sweep starts, when full writers wait. */
  tableBytesMax: 16_777_216,
  ringSegments: 4,
  ringSegmentBytes: 8_388_608,
  /** One flush gathers appends up to this many bytes; a single greater append goes alone. */
  flushBytesMax: 262_144,
  /** One append, in bytes; a greater one is refused with `too-large`. */
  appendBytesMax: 1_048_576,
  /** Small flushes a second that a steady trickle may cost the disk, and as many at once. */
  flushesPerSecond: 100,
  /** Flushes below this many bytes pay a token of the bucket; greater ones are bulk and are never held back. */
  smallFlushBytes: 16_384,
  /** The same by what the flush's operations take in memory: a thousand of them compress to less than 16 KiB. */
  smallFlushMemoryBytes: 65_536,
  /** Appends waiting for the disk, in bytes; further ones are refused with `overloaded`. */
  appendQueueBytesMax: 33_554_432,
  /** A sweep starts when this share of table or ring is full; when so many bytes wait and writers pause; or at the latest. */
  sweepAtFill: 0.75,
  idleSweepBytes: 1_048_576,
  idleSweepMs: 400,
  lateSweepMs: 180_000,
  /** What one turn of the event loop encodes for a sweep, in bytes. */
  sweepSliceBytes: 131_072,
  /** Kept on the disk so that a store which filled it can be opened and swept again. */
  ballastBytes: 16_777_216,
  /** Bytes of the disk that the store leaves free unless the profile says otherwise. */
  reserveFreeBytes: 67_108_864,
  /** With fewer bytes free a disk counts as full: a store is not opened, and a failed write is put down to it. */
  fullDiskBytes: 1_048_576,
  recordKeyBytesMax: 1_000,
  /** Patterns of what a neighbour keeps. */
  interestPatternsMax: 256,
  /** Standing transfers to chosen gateways; further ones are refused with `overloaded`. */
  transfersMax: 64,
  enrolmentsAtOnce: 4,
  /** An MQTT packet around a neighbour's frame, in bytes. */
  neighbourPacketBytesMax: 73_728,
  enrolmentMs: 10_000,
  /** Gateways of the mesh that are remembered to be at one relay, and handshakes over it at the same time. */
  relayPeersMax: 1_024,
  relayHandshakesMax: 16,
  watchersMax: 256,
  watcherQueueMax: 4_096,
  /** What devices wrote to encrypted collections whose keys are not here yet. */
  heldWritesMax: 10_000,
  heldWriteBytesMax: 4_194_304,
  quarantineEntriesMax: 1_000,
  /** Batches of one link that are no batches, or not signed; then it is closed. */
  damagedPerLinkMax: 256,
  /** Checkpoints of one link that wait for their time, of at most 48 KiB; for what more are offered the whole feed waits. */
  earlyPerLinkMax: 16,
  /** Collections and partitions of which one message compares digests; and divergences that are remembered. */
  placesComparedMax: 64,
  /** What is read again to find what the card has changed: documents and bytes of batches, each time, and how often. */
  scrubDocuments: 1_024,
  scrubBytes: 262_144,
  scrubMs: 60_000,
  divergedMax: 256,
  /** Elements or links that one field may hold before further ones are refused with `too-large`. */
  elementsPerFieldMax: 4_096,
  /** Lost writes that are remembered, the latest; and the greatest value that is remembered with them, in UTF-16 units. */
  conflictsMax: 1_000,
  conflictValueLengthMax: 2_048,
  /** Documents that one walk over links may reach, and how far. */
  walkDocumentsMax: 10_000,
  walkDepthMax: 64,
  /** What may be counted at once. */
  amountMax: 1_000_000_000_000,
} as const

/** How many clients the embedded broker has room for. */
export interface ClientLimits {
  /** Connections: in all; from other machines, so that this one always gets in; from one other machine. */
  readonly connectionsMax: number
  readonly remoteConnectionsMax: number
  readonly connectionsPerAddressMax: number
  /** Sessions that outlive their connection; a client that asks for one more is not admitted. */
  readonly sessionsMax: number
}

export const CLIENT_LIMITS: ClientLimits = {
  connectionsMax: 2_048,
  remoteConnectionsMax: 1_792,
  connectionsPerAddressMax: 128,
  sessionsMax: 1_000,
}

/** Of a super peer. */
export const SUPER_CLIENT_LIMITS: ClientLimits = {
  connectionsMax: 8_192,
  remoteConnectionsMax: 7_680,
  connectionsPerAddressMax: 512,
  sessionsMax: 8_000,
}

/** Limits of the embedded broker. What is over them is refused or dropped, counted and logged. */
export const BROKER_LIMITS = {
  /** One packet of a client that has not logged in, in bytes: a CONNECT with its will. */
  connectBytesMax: 8_192,
  connectMs: 10_000,
  clientIdBytesMax: 256,
  usersMax: 10_000,
  /** Passwords hashed at once, half of the threads that the disk needs as well; logins waiting for that; successes remembered. */
  passwordsAtOnce: 2,
  passwordsWaitingMax: 128,
  passwordsKnownMax: 1_024,
  /** Messages of one client that wait for the disk; then its socket is read no further, but for what one read has brought. */
  publishesAtOnce: 1_024,
  filtersPerClientMax: 256,
  filterBytesMax: 1_024,
  /** Retained messages, and with their topics in bytes; further ones are handed on without being retained. */
  retainedMax: 10_000,
  retainedBytesMax: 33_554_432,
  /** A message that is retained or queued, in bytes; greater ones are only handed on. */
  keptMessageBytesMax: 524_288,
  /** QoS 2 messages whose PUBREL has not come, of all clients; when full, one client's are forgotten and may be heard twice. */
  unreleasedMax: 65_536,
  /** Of one client: then it is disconnected. Those that send all they have before they read an answer stay below. */
  unreleasedPerClientMax: 16_384,
  /** What waits in the socket of a client that reads too slowly, in bytes: then QoS 0 is dropped, then it is disconnected. */
  bufferedBytesMax: 1_048_576,
  bufferedBytesEnd: 4_194_304,
  /** A subscriber that takes nothing for so long is disconnected. */
  drainMs: 15_000,
  /** A frame of somebody who joins, in bytes; what waits for one neighbour, in bytes, before `send` says no. */
  joinFrameBytesMax: 8_192,
  frameBytesWaitingMax: 4_194_304,
  /** Lines of the log, and messages on marram/error, for what clients were refused. */
  refusalsPerSecond: 20,
} as const

/** Limits of finding other gateways. What is over them is dropped: a gateway that is there is heard of again. */
export const DISCOVERY_LIMITS = {
  /** One packet of multicast DNS, in bytes: what fits into one frame of Ethernet. */
  packetBytesMax: 1_472,
  questionsMax: 8,
  recordsMax: 64,
  /** Packets that are decoded: of all sources, and of one. */
  packetsPerSecond: 50,
  packetsAtOnce: 100,
  packetsPerSourceSecond: 10,
  packetsPerSourceAtOnce: 40,
  sourcesMax: 256,
  /** Packets that go out on each interface: questions, and as many answers. */
  sentPerSecond: 2,
  sentAtOnce: 10,
  interfacesMax: 16,
  /** Services that are listened to between two questions. */
  servicesMax: 256,
  /** Addresses that are known at once, from every source; of one host, unless links over them came about. */
  addressesMax: 256,
  addressesPerHostMax: 8,
  /** Gateways that are believed to be said to be at one address. */
  claimsPerAddressMax: 4,
  /** Addresses that are remembered on the disk: over which links came about last. */
  rememberedMax: 64,
  /** Addresses that are only said to lead somewhere: dialled at once, in a second, and how often before they are forgotten. */
  dialsAtOnce: 4,
  dialsPerSecond: 2,
  dialsInARow: 8,
  dialFailuresMax: 8,
  /** Gateways whose records are kept; of those that are no members, as far as is known; of further ones nothing is known. */
  gatewaysMax: 1_024,
  strangersMax: 64,
  /** Records in one message, and that are verified from one neighbour in a second, beside as many at once as are kept. */
  recordsAtOnce: 16,
  recordBytesAtOnce: 32_768,
  recordsPerSecond: 100,
  /** Gateways that are dialled in the place of a lost link; and that one is told of who finds no place. */
  passiveMax: 30,
  referralsMax: 8,
} as const

/** Limits of the control door. */
export const HTTP_LIMITS = {
  /** Further connections are closed at once. */
  connectionsMax: 512,
  /** One document or profile, and one line of an import, in bytes; greater ones are refused with `too-large`. */
  bodyBytesMax: 4_194_304,
  lineBytesMax: 4_194_304,
  /** Documents of one page. */
  pageMax: 1_000,
  /** Lines of an import that wait for the disk, and their bytes; then no more are read. */
  importLinesMax: 4_096,
  importBytesMax: 8_388_608,
  /** A backup that nobody takes on for so long is given up. */
  backupStallMs: 60_000,
  /** What is gathered before it is written, in UTF-16 units. */
  pieceLength: 65_536,
  /** What is under way may take so long to end when the gateway stops. */
  closeMs: 1_000,
} as const

/** Limits of a device profile: what is over them is an error that says so. */
export const PROFILE_LIMITS = {
  /** One file, in UTF-16 units. */
  textLengthMax: 262_144,
  /** Objects and arrays within each other. */
  depthMax: 32,
  /** Values in one file, each item and member counted: the validator's time grows with the square of what is wrong. */
  valuesMax: 8_192,
  /** Files that one profile is merged from, and how far `extends` may lead. */
  filesMax: 16,
  extendsDepthMax: 8,
  /** Errors that are reported, the first ones by line. */
  errorsMax: 100,
} as const

/** Limits of a query over documents; a longer or deeper one is refused with `bad-request`. */
export const QUERY_LIMITS = {
  textLengthMax: 4_096,
  /** Parentheses and `not` within each other. */
  depthMax: 32,
} as const
