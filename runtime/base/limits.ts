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
  /** A body after inflating, in bytes, and its greatest ratio to the transmitted body. */
  bodyBytesMax: 1_048_576,
  inflateRatioMax: 64,
  opsPerBatchMax: 1024,
  /** One field's value, encoded, in bytes: larger things are blobs. */
  valueBytesMax: 32_768,
  valueDepthMax: 16,
  messageDepthMax: 8,
  itemsPerMessageMax: 65_536,
  documentKeyBytesMax: 512,
  fieldPathBytesMax: 256,
  partitionBytesMax: 64,
  fieldsPerDocumentMax: 1024,
} as const

/** Limits of one gateway. */
export const GATEWAY_LIMITS = {
  linksMax: 32,
  feedsMax: 16_384,
  feedsPerOriginMax: 1_000,
  /** Bytes of DATA a neighbour may have under way to us before we have stored them. */
  creditBytes: 1_048_576,
  /** Local writes waiting for a batch, in operations; further ones are refused with `overloaded`. */
  pendingWritesMax: 65_536,
  /** Memory table of the store, in bytes: at three quarters a sweep starts, when full writers wait. */
  tableBytesMax: 16_777_216,
  ringSegments: 4,
  ringSegmentBytes: 8_388_608,
  enrolmentsAtOnce: 4,
  enrolmentMs: 10_000,
  watchersMax: 256,
  watcherQueueMax: 4_096,
  quarantineEntriesMax: 1_000,
} as const
