/** The partition that a template stands for; null when it names `{cell}` and there is no cell, or names anything else. */
export function expandPartition(template: string, cell: string | undefined): string | null {
  const expanded = template.replaceAll('{cell}', cell ?? '{cell}')
  return /[{}]/.test(expanded) ? null : expanded
}

/** True when an interest pattern (`collection`, `collection/partition-prefix` or `*`) takes in the partition. */
export function isOfInterest(pattern: string, collection: string, partition: string): boolean {
  if (pattern === '*') return true
  const slash = pattern.indexOf('/')
  if (slash < 0) return pattern === collection
  return pattern.slice(0, slash) === collection && partition.startsWith(pattern.slice(slash + 1))
}
