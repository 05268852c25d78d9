/**
 * CBOR as a tree that may be wrong: heads of any width, lengths that lie, kinds that don't exist. Byte strings that hold
 * CBOR themselves, as envelopes hold headers, are trees too.
 */
export interface Node {
  /** 0 to 7, RFC 8949 3.1. */
  major: number
  argument: bigint
  /** Bytes of the head's argument: 0, 1, 2, 4 or 8; undefined for the shortest that fits. */
  width: number | undefined
  /** Of arrays and tags; of maps, keys and values in turn. */
  items: Node[]
  /** Of strings. */
  content: Uint8Array
  /** The content as a sequence of its own, in place of it. */
  inner: Node[] | undefined
  /** Written in the place of the true length or count. */
  claimed: bigint | undefined
}

const DEPTH_MAX = 64
const NOTHING = new Uint8Array()
const WIDTHS: readonly number[] = [1, 2, 4, 8]

/** The items of a sequence, or null when it is none that a strict reader could take. */
export function parseTree(bytes: Uint8Array): Node[] | null {
  const reader = new Reader(bytes)
  const nodes: Node[] = []
  while (!reader.isAtEnd) {
    const node = reader.node(0)
    if (node === null) return null
    nodes.push(node)
  }
  return nodes
}

export function encodeTree(nodes: readonly Node[]): Uint8Array {
  const parts: Uint8Array[] = []
  for (const node of nodes) encodeNode(node, parts)
  return Buffer.concat(parts)
}

export function leaf(major: number, argument: bigint): Node {
  return { major, argument, width: undefined, items: [], content: NOTHING, inner: undefined, claimed: undefined }
}

/** Every node, those within byte strings too. */
export function allOf(nodes: readonly Node[], found: Node[] = []): Node[] {
  for (const node of nodes) {
    found.push(node)
    allOf(node.inner ?? node.items, found)
  }
  return found
}

export function copyOf(node: Node): Node {
  const { major, argument, width, items, content, inner, claimed } = node
  return { major, argument, width, items: items.map(copyOf), content, inner: inner?.map(copyOf), claimed }
}

function encodeNode(node: Node, parts: Uint8Array[]): void {
  const content = node.inner ? encodeTree(node.inner) : node.content
  const isString = node.major === 2 || node.major === 3
  const argument = node.claimed ?? (isString ? BigInt(content.length) : argumentOf(node))
  parts.push(headOf(node.major, argument, node.width))
  if (content.length > 0) parts.push(content)
  for (const item of node.items) encodeNode(item, parts)
}

function argumentOf({ major, argument, items }: Node): bigint {
  if (major === 4) return BigInt(items.length)
  return major === 5 ? BigInt(items.length >> 1) : argument
}

function headOf(major: number, argument: bigint, width: number | undefined): Buffer {
  const least = argument < 24n ? 0 : argument < 0x100n ? 1 : argument < 0x10000n ? 2 : argument < 0x100000000n ? 4 : 8
  const bytes = Math.max(least, width ?? 0)
  if (bytes === 0) return Buffer.of((major << 5) | Number(argument))
  const head = Buffer.alloc(9)
  head.writeBigUInt64BE(BigInt.asUintN(64, argument), 1)
  head[8 - bytes] = (major << 5) | (24 + WIDTHS.indexOf(bytes))
  return head.subarray(8 - bytes)
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  node(depth: number): Node | null {
    if (this.isAtEnd || depth > DEPTH_MAX) return null
    const first = this.#bytes[this.#at++] as number
    const [major, info] = [first >> 5, first & 31]
    const width = info < 24 ? 0 : (WIDTHS[info - 24] ?? -1)
    if (width < 0 || this.#at + width > this.#bytes.length) return null
    const argument = width === 0 ? BigInt(info) : this.#number(width)
    const node = leaf(major, argument)
    // Floats keep their width, which says what they are.
    if (major === 7) node.width = width
    if (major === 2 || major === 3) return this.#string(node)
    const count = major === 4 ? argument : major === 5 ? argument * 2n : major === 6 ? 1n : 0n
    if (count > BigInt(this.#bytes.length - this.#at)) return null
    for (let i = 0n; i < count; i++) {
      const item = this.node(depth + 1)
      if (item === null) return null
      node.items.push(item)
    }
    return node
  }

  #string(node: Node): Node | null {
    if (node.argument > BigInt(this.#bytes.length - this.#at)) return null
    node.content = this.#bytes.subarray(this.#at, (this.#at += Number(node.argument)))
    const inner = node.major === 2 && node.content.length > 2 ? parseTree(node.content) : null
    if (inner?.length === 1 && (inner[0]?.major === 4 || inner[0]?.major === 5)) node.inner = inner
    return node
  }

  #number(width: number): bigint {
    const digits = this.#bytes.subarray(this.#at, (this.#at += width))
    return BigInt(`0x${digits.toString('hex')}`)
  }
}
