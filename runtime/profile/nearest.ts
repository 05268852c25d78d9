/** The candidate that `word` was probably meant to be, or null when none is near: at most a third of it may differ. */
export function nearestTo(word: string, candidates: readonly string[]): string | null {
  const meant = word.slice(0, 64).toLowerCase()
  let nearest: string | null = null
  let least = Math.max(1, Math.floor(meant.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(meant, candidate.toLowerCase())
    if (distance < least) {
      least = distance
      nearest = candidate
    }
  }
  return nearest
}

/** Insertions, deletions, replacements and swaps of neighbours that make `b` of `a` (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1]
      const change = cell(above, j - 1) + (isSame ? 0 : 1)
      row[j] = Math.min(change, cell(above, j) + 1, cell(row, j - 1) + 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (isSwap) row[j] = Math.min(cell(row, j), cell(before, j - 2) + 1)
    }
    before = above
    above = row
  }
  return cell(above, b.length)
}

function cell(row: readonly number[], j: number): number {
  return row[j] as number
}
