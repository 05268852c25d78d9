/** One word of a command for a person to copy into a POSIX shell: quoted unless it stands for itself as it is. */
export function shellWord(text: string): string {
  return /^[\w@%+:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`
}
