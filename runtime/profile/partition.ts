/** The partition that a template stands for; null when it names `{cell}` and there is no cell, or names anything else. */
export function expandPartition(template: string, cell: string | undefined): string | null {
  const expanded = template.replaceAll('{cell}', cell ?? '{cell}')
  return /[{}]/.test(expanded) ? null : expanded
}
