import { MarramError } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { kindOfCell, pathOfCell, type Reference } from '../model/cells.ts'
import { isLive, type Document } from '../model/document.ts'
import { fieldsOf, type FieldKinds } from '../model/fields.ts'
import type { WalkOptions, WalkStep } from '../ports/operations.ts'
import type { DocumentPlace, Documents } from '../ports/store.ts'

/** Documents and the links between them. */
export interface Graph {
  readonly store: Documents
  /** Where a document is: the partition that a link leaves open is this gateway's own, else any that has it. */
  place(collection: string, key: string): DocumentPlace | undefined
  kindsOf(collection: string): FieldKinds
}

interface Link {
  readonly field: string
  readonly reference: Reference
}

/**
 * What links lead to, nearest first, or what leads here. Each link is told once and each document is followed once, so
 * circles end. Throws `not-found`, and `too-large` when there are more documents than one walk may reach.
 */
export function* walkLinks(
  graph: Graph,
  collection: string,
  key: string,
  options: WalkOptions = {},
): Generator<WalkStep> {
  const { depth: depthMax = 1, reverse = false } = options
  const start = graph.place(collection, key)
  if (!start && !reverse)
    throw new MarramError('not-found', `Cannot walk from "${key}": there is no such document in "${collection}"`)
  const seen = new Set<string>()
  let level: DocumentPlace[] = [start ?? { collection, partition: '', key }]
  for (const place of level) seen.add(nameOf(place))
  for (let depth = 1; depth <= depthMax && level.length > 0; depth++) {
    const next: DocumentPlace[] = []
    for (const place of level) {
      for (const { to, step } of reverse ? backward(graph, place, depth) : forward(graph, place, depth)) {
        yield step
        if (!to || seen.has(nameOf(to))) continue
        seen.add(nameOf(to))
        if (seen.size > GATEWAY_LIMITS.walkDocumentsMax) throw tooMany(key)
        next.push(to)
      }
    }
    level = next
  }
}

interface Found {
  /** Undefined for a link that leads to nothing. */
  readonly to: DocumentPlace | undefined
  readonly step: WalkStep
}

function* forward(graph: Graph, from: DocumentPlace, depth: number): Generator<Found> {
  for (const { field, reference } of linksOf(graph.store.get(from, from.key))) {
    const [collection, partition, key] = reference
    const named = { collection, partition, key }
    const to = partition === '' ? graph.place(collection, key) : isThere(graph, named) ? named : undefined
    yield { to, step: stepOf(graph, depth, from, { field, reference }, to ?? named) }
  }
}

function* backward(graph: Graph, to: DocumentPlace, depth: number): Generator<Found> {
  for (const from of referrersOf(graph, to)) {
    for (const { field, reference } of linksOf(graph.store.get(from, from.key))) {
      if (leadsTo(reference, to)) yield { to: from, step: stepOf(graph, depth, to, { field, reference }, from) }
    }
  }
}

/** Links may name the partition or leave it open. */
function referrersOf({ store }: Graph, to: DocumentPlace): DocumentPlace[] {
  const max = GATEWAY_LIMITS.walkDocumentsMax + 1
  const named = store.referrers(to, max)
  return to.partition === '' ? named : [...named, ...store.referrers({ ...to, partition: '' }, max)]
}

function leadsTo([collection, partition, key]: Reference, to: DocumentPlace): boolean {
  return collection === to.collection && key === to.key && (partition === '' || partition === to.partition)
}

function linksOf(document: Document | undefined): Link[] {
  if (!document) return []
  const links = document.paths.flatMap((name, i): Link[] => {
    const value = document.values[i]
    if (value === null || value === undefined || kindOfCell(name) !== 'link') return []
    return [{ field: pathOfCell(name), reference: value as Reference }]
  })
  const textOf = ({ field, reference }: Link): string => [field, ...reference].join('\0')
  return links.sort((a, b) => (textOf(a) < textOf(b) ? -1 : 1))
}

function stepOf(graph: Graph, depth: number, from: DocumentPlace, link: Link, to: DocumentPlace): WalkStep {
  const document = graph.store.get(to, to.key)
  const isHere = document !== undefined && isLive(document)
  return {
    depth,
    from: { collection: from.collection, key: from.key },
    field: link.field,
    label: link.reference[3] ?? null,
    collection: to.collection,
    key: to.key,
    value: isHere ? fieldsOf(document, graph.kindsOf(to.collection)) : null,
  }
}

function isThere({ store }: Graph, place: DocumentPlace): boolean {
  const document = store.get(place, place.key)
  return document !== undefined && isLive(document)
}

function nameOf({ collection, partition, key }: DocumentPlace): string {
  return `${collection}\0${partition}\0${key}`
}

function tooMany(key: string): MarramError {
  const sentence = `Cannot walk further from "${key}": its links lead to more than ${GATEWAY_LIMITS.walkDocumentsMax} documents`
  return new MarramError('too-large', sentence)
}
