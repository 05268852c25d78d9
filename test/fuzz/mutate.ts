import { randomInteger, type Random } from '../../runtime/base/random.ts'
import { allOf, copyOf, encodeTree, leaf, parseTree, type Node } from './cbor.ts'

/** What kind of input a decoder takes: mutations know its structure. */
export type Form = 'cbor' | 'bytes' | 'text'

const INPUT_BYTES_MAX = 262_144
const BOUNDARIES: readonly bigint[] = [
  [0n, 1n, 2n, 23n, 24n, 127n, 128n, 255n, 256n, 1_023n, 1_024n, 65_535n, 65_536n, 0x7fffffffn, 0xffffffffn],
  [1n << 32n, (1n << 42n) + 1n, (1n << 52n) + 1n, (1n << 53n) - 2n, (1n << 53n) - 1n, 1n << 53n, (1n << 53n) + 1n],
  [(1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 1n],
].flat()
const HOSTILE_TEXTS: readonly string[] = [
  ['', '\u0000', '__proto__', 'constructor', 'toString', '$mesh', '$self', '*', '../', '/', '#', '+', '\ufeff'],
  ['\u202e', '🌊', 'e\u0301', 'x'.repeat(300), 'é'.repeat(2_000), '-0', '1e999', 'NaN', '9007199254740993'],
].flat()
const WORDS: readonly string[] = [
  ['"', "'", '\\', '{', '}', '[', ']', ',', ':', '(', ')', '\n', '\r\n', '\t', ' ', 'null', 'true', 'false'],
  ['1e999', '-0', '1e308', '0x10', '9007199254740993', '\\ud800', '\\u0000', '"__proto__":', '\ufeff', '//', '#'],
  [' and ', ' or ', 'not ', ' in (', ' = ', ' != ', ' <= ', ' exists', ' startswith ', '$.', "['a']", '[-1]', '{a}'],
  ['{rest...}', 'extends', '%', '%2', '%ff', 'mqtt://', 'marram1', '\u2028', '\u0000', '=', '-', '.'],
].flat()

/** One input: a sample, changed one to four times, seldom not at all. */
export function mutated(random: Random, samples: readonly Uint8Array[], form: Form): Uint8Array {
  let input = pick(random, samples)
  if (random() < 0.02) return input
  for (let count = randomInteger(random, 1, 4); count > 0; count--) {
    const draw = random()
    if (form === 'cbor' && draw < 0.7) input = mutatedTree(random, input, samples)
    else if (form === 'text' && draw < 0.7) input = mutatedText(random, input, samples)
    else input = mutatedBytes(random, input, samples)
  }
  return input.subarray(0, INPUT_BYTES_MAX)
}

export function pick<T>(random: Random, items: readonly T[]): T {
  return items[randomInteger(random, 0, items.length - 1)] as T
}

export function boundary(random: Random): bigint {
  return pick(random, BOUNDARIES)
}

/** Bits flipped, bytes set, cut, repeated, spliced, and numbers that may be lengths made greater or less. */
function mutatedBytes(random: Random, input: Uint8Array, samples: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.from(input)
  const at = randomInteger(random, 0, Math.max(0, bytes.length - 1))
  const end = Math.min(bytes.length, at + randomInteger(random, 1, 32))
  switch (randomInteger(random, 0, 8)) {
    case 0:
      for (let i = 0; i < 4 && bytes.length > 0; i++) flip(bytes, randomInteger(random, 0, bytes.length * 8 - 1))
      return bytes
    case 1:
      if (bytes.length > 0) bytes[at] = pick(random, [0, 1, 0x17, 0x18, 0x1b, 0x7f, 0x80, 0xf7, 0xfe, 0xff])
      return bytes
    case 2:
      return bytes.subarray(0, at)
    case 3:
      return bytes.subarray(at)
    case 4:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)])
    case 5: {
      const room = (INPUT_BYTES_MAX - bytes.length) / Math.max(1, end - at)
      const times = random() < 0.05 ? room : Math.min(room, randomInteger(random, 1, 8))
      return Buffer.concat([bytes.subarray(0, at), repeated(bytes.subarray(at, end), times), bytes.subarray(at)])
    }
    case 6: {
      const other = pick(random, samples)
      return Buffer.concat([bytes.subarray(0, at), other.subarray(randomInteger(random, 0, other.length))])
    }
    case 7:
      if (bytes.length > at + 8) bytes.writeBigUInt64BE(boundary(random), at)
      return bytes
    default:
      if (bytes.length > at + 4) bytes.writeUInt32BE(Number(boundary(random) & 0xffffffffn), at)
      return bytes
  }
}

function flip(bytes: Uint8Array, bit: number): void {
  bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
}

function repeated(bytes: Uint8Array, times: number): Uint8Array {
  return Buffer.concat(Array.from({ length: Math.max(0, Math.floor(times)) }, () => bytes))
}

function mutatedTree(random: Random, input: Uint8Array, samples: readonly Uint8Array[]): Uint8Array {
  const nodes = parseTree(input)
  if (nodes === null || nodes.length === 0) return mutatedBytes(random, input, samples)
  const all = allOf(nodes)
  // Not the root alone: in a large input most nodes are leaves, and what holds them matters more.
  const holders = all.filter(({ items }) => items.length > 0)
  const node = random() < 0.4 && holders.length > 0 ? pick(random, holders) : pick(random, all)
  changeNode(random, node, all, samples)
  return encodeTree(nodes)
}

function changeNode(random: Random, node: Node, all: readonly Node[], samples: readonly Uint8Array[]): void {
  const { items } = node
  const at = randomInteger(random, 0, Math.max(0, items.length - 1))
  switch (randomInteger(random, 0, 13)) {
    case 0:
      return replace(node, leaf(pick(random, [0, 1]), boundary(random)))
    case 1:
      node.width = pick(random, [1, 2, 4, 8])
      return
    case 2:
      node.claimed = boundary(random)
      return
    case 3:
      node.claimed = BigInt(items.length + node.content.length + randomInteger(random, 1, 3))
      return
    case 4:
      items.splice(at, randomInteger(random, 1, 2))
      return
    case 5: {
      const item = items[at]
      const times = random() < 0.02 ? randomInteger(random, 100, 2_000) : randomInteger(random, 1, 3)
      if (item) items.splice(at, 0, ...Array.from({ length: times }, () => copyOf(item)))
      return
    }
    case 6: {
      const other = randomInteger(random, 0, Math.max(0, items.length - 1))
      ;[items[at], items[other]] = [items[other] as Node, items[at] as Node]
      if (items.length < 2) items.length = 0
      return
    }
    case 7: {
      let inner = copyOf(node)
      for (let depth = randomInteger(random, 1, 24); depth > 0; depth--) inner = { ...leaf(4, 0n), items: [inner] }
      return replace(node, inner)
    }
    case 8:
      node.major = randomInteger(random, 0, 7)
      return
    case 9:
      return replace(node, { ...leaf(6, boundary(random)), items: [copyOf(node)] })
    case 10:
      node.major = pick(random, [2, 3])
      node.inner = undefined
      node.content =
        random() < 0.5 ? Buffer.from(pick(random, HOSTILE_TEXTS)) : mutatedBytes(random, node.content, samples)
      return
    case 11:
      return replace(node, floatNode(random))
    case 12:
      return replace(node, copyOf(pick(random, all)))
    default: {
      const others = nodesOf(pick(random, samples))
      if (others.length > 0) replace(node, copyOf(pick(random, others)))
    }
  }
}

/** Of samples, which are many times asked for. */
const trees = new WeakMap<Uint8Array, readonly Node[]>()

function nodesOf(sample: Uint8Array): readonly Node[] {
  let nodes = trees.get(sample)
  if (nodes === undefined) {
    nodes = allOf(parseTree(sample) ?? [])
    trees.set(sample, nodes)
  }
  return nodes
}

function replace(node: Node, other: Node): void {
  Object.assign(node, other)
}

/** Simple values and floats of every width, those that are not finite too. */
function floatNode(random: Random): Node {
  const simple = [20n, 21n, 22n, 23n, 0n, 31n, 0x7c00n, 0x7e00n, 0x8000n, 0x7f800000n, 0x7ff0000000000000n, 1n << 63n]
  const argument = pick(random, simple)
  return { ...leaf(7, argument), width: argument < 24n ? 0 : pick(random, [1, 2, 4, 8]) }
}

function mutatedText(random: Random, input: Uint8Array, samples: readonly Uint8Array[]): Uint8Array {
  const text = Buffer.from(input).toString()
  const at = randomInteger(random, 0, text.length)
  const end = Math.min(text.length, at + randomInteger(random, 1, 24))
  const [before, middle, after] = [text.slice(0, at), text.slice(at, end), text.slice(end)]
  switch (randomInteger(random, 0, 4)) {
    case 0:
      return Buffer.from(before + pick(random, WORDS) + middle + after)
    case 1:
      return Buffer.from(before + after)
    case 2: {
      const word = random() < 0.5 ? middle : pick(random, WORDS)
      const times =
        random() < 0.05 ? randomInteger(random, 100, 60_000 / Math.max(1, word.length)) : randomInteger(random, 1, 9)
      return Buffer.from(before + word.repeat(times) + after)
    }
    case 3: {
      const other = Buffer.from(pick(random, samples)).toString()
      const from = randomInteger(random, 0, other.length)
      return Buffer.from(before + other.slice(from, from + randomInteger(random, 1, 200)) + after)
    }
    default:
      return Buffer.from(before + pick(random, HOSTILE_TEXTS) + after)
  }
}
