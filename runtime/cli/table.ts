import { printable } from '../base/printable.ts'

/** A cell that is wider moves what is behind it and no other line. */
const WIDTH_MAX = 40

/** Columns as wide as their widest cell, two spaces between; a line end in a cell begins no line. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return aligned([header, ...rows], Number.POSITIVE_INFINITY).join('\n')
}

export function aligned(rows: readonly (readonly string[])[], widthMax: number = WIDTH_MAX): string[] {
  const shown = rows.map((row) => row.map((cell) => printable(cell).replaceAll('\n', '\\n')))
  const widths = Array.from({ length: Math.max(0, ...shown.map(({ length }) => length)) }, (_, i) =>
    Math.min(widthMax, Math.max(0, ...shown.map((row) => row[i]?.length ?? 0))),
  )
  return shown.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
