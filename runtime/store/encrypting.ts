import { MarramError } from '../base/errors.ts'
import { CIPHER_KEY, ENCRYPTING_KEY, Slice, VALUE_TABLES, type Database, type TableName } from './database.ts'
import { ValueCipher } from './value-cipher.ts'

/** How a store and the key that it is opened with go together. */
export type Agreement = 'plain' | 'sealed' | 'to-encrypt' | 'encrypting'

/** Throws `no-key` when the store is encrypted and `key` is not its key. */
export function agreementOf(database: Database, dir: string, cipher: ValueCipher | null): Agreement {
  const check = database.get('meta', CIPHER_KEY)
  if (check === undefined) return cipher === null ? 'plain' : 'to-encrypt'
  if (cipher === null)
    throw new MarramError(
      'no-key',
      `Cannot open "${dir}": what it holds is encrypted; put "encryption": "values" and its "key" back under "storage" in the profile`,
    )
  if (!cipher.accepts(check))
    throw new MarramError(
      'no-key',
      `Cannot open "${dir}": the key that "storage.key" names is not the one that it is encrypted with`,
    )
  return database.get('meta', ENCRYPTING_KEY) === undefined ? 'sealed' : 'encrypting'
}

/** One transaction takes so many bytes. */
const SLICE_BYTES = 1_048_576
const ROWS = 1_024

/**
 * Encrypts the values of a store whose log is empty, in slices; how far it has come is committed with each, so that after a crash it
 * goes on there. `database` must not encrypt by itself yet.
 */
export async function encryptValues(database: Database, cipher: ValueCipher): Promise<void> {
  let { table, after } = progressOf(database.get('meta', ENCRYPTING_KEY))
  if (database.get('meta', CIPHER_KEY) === undefined) await begin(database, cipher)
  while (table < VALUE_TABLES.length) {
    const name = VALUE_TABLES[table] as TableName
    const slice = new Slice()
    let bytes = 0
    let last: Buffer | null = null
    for (const { key, value } of database.rows(name, after, ROWS)) {
      slice.put(name, key, cipher.seal({ table: name, key }, value))
      bytes += value.length
      last = key
      if (bytes >= SLICE_BYTES) break
    }
    if (last === null) table += 1
    after = last
    slice.put('meta', ENCRYPTING_KEY, Buffer.concat([Buffer.from([table]), last ?? Buffer.alloc(0)]))
    await database.commit(slice)
  }
  const end = new Slice()
  end.remove('meta', ENCRYPTING_KEY)
  await database.commit(end)
  await database.flushed()
}

async function begin(database: Database, cipher: ValueCipher): Promise<void> {
  const slice = new Slice()
  slice.put('meta', CIPHER_KEY, cipher.check())
  slice.put('meta', ENCRYPTING_KEY, Buffer.from([0]))
  await database.commit(slice)
}

/** Up to which key of which table all is encrypted. */
function progressOf(bytes: Uint8Array | undefined): { table: number; after: Buffer | null } {
  if (bytes === undefined) return { table: 0, after: null }
  return { table: bytes[0] ?? 0, after: bytes.length > 1 ? Buffer.from(bytes.subarray(1)) : null }
}
