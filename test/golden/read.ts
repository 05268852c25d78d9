import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Golden files: the bytes that version 1 puts on a wire or a disk, in hexadecimal with a comment for each field. `00*12` is
 * twelve bytes of zero. Read from the sources, for only compiled code is in `dist`.
 */
const FOLDER = join(import.meta.dirname, '../../../test/golden')

export function golden(name: string): Uint8Array {
  const text = readFileSync(join(FOLDER, `${name}.hex`), 'utf8').replaceAll(/#.*/g, '')
  const bytes = text.split(/\s+/).map((word) => {
    const [digits = '', count = '1'] = word.split('*')
    return digits.repeat(Number(count))
  })
  return new Uint8Array(Buffer.from(bytes.join(''), 'hex'))
}

/** The names of all golden files of a folder. */
export function goldenNames(folder: string): string[] {
  return readdirSync(join(FOLDER, folder)).map((name) => `${folder}/${name.replace('.hex', '')}`)
}
