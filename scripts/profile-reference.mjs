/** The tables of device-profiles/README.md: every key of the schema with its meaning, unit, default and how it is applied. */
const BEGIN = '<!-- keys: made by `node scripts/generate-profile.mjs --readme` -->'
const END = '<!-- end of keys -->'
const HEAD = '| Key | Meaning | Values | Default | Applied by |\n|---|---|---|---|---|\n'

/** `text` with what stands between the two marks made anew from the schema. */
export function withReference(text, schema) {
  const begin = text.indexOf(BEGIN)
  const end = text.indexOf(END)
  if (begin < 0 || end < begin)
    throw new Error(`Cannot update the README: its marks are missing, it must hold "${BEGIN}"`)
  return `${text.slice(0, begin + BEGIN.length)}\n\n${referenceOf(schema)}\n${text.slice(end)}`
}

/** One table for the top, one for each of its sections. */
export function referenceOf(schema) {
  const sections = rowsOf(schema, schema, [], schema['x-applies'])
  const names = [...new Set(sections.map((row) => row.section))]
  return names
    .map((name) =>
      tableOf(
        name,
        sections.filter((row) => row.section === name),
      ),
    )
    .join('\n')
}

function tableOf(name, rows) {
  const title = name === '' ? '' : `### \`${name}\`\n\n`
  return `${title}${HEAD}${rows.map((row) => row.text).join('')}`
}

function rowsOf(root, schema, path, applies) {
  return Object.entries(schema.properties).flatMap(([key, property]) => {
    const here = [...path, key]
    const part = resolved(root, property)
    const applied = part['x-applies'] ?? applies
    const inner = innerOf(root, part)
    const row = { section: inner || path.length > 0 ? here[0] : '', text: rowOf(here, part, applied) }
    return inner ? [row, ...rowsOf(root, inner.schema, [...here, ...inner.step], applied)] : [row]
  })
}

function innerOf(root, part) {
  if (part.properties) return { schema: part, step: [] }
  const item = part.items && resolved(root, part.items)
  if (item?.properties) return { schema: item, step: ['[]'] }
  const member = typeof part.additionalProperties === 'object' && resolved(root, part.additionalProperties)
  return member?.properties ? { schema: member, step: ['*'] } : null
}

function rowOf(path, part, applies) {
  const key = path.join('.').replaceAll('.[]', '[]')
  const fallback = part.default === undefined || isEmpty(part.default) ? '' : `\`${JSON.stringify(part.default)}\``
  return `| \`${key}\` | ${part.description} | ${valuesOf(part)} | ${fallback} | ${applies === 'live' ? 'reload' : 'restart'} |\n`
}

function isEmpty(value) {
  return typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length === 0
}

function valuesOf(part) {
  const choices = part.enum ?? part.items?.enum
  if (choices) return choices.map((value) => `\`${JSON.stringify(value)}\``).join(', ')
  const kind = part['x-unit'] ?? (Array.isArray(part.type) ? part.type.join(' or ') : part.type) ?? ''
  const low = part['x-minimum'] ?? part.minimum
  const high = part['x-maximum'] ?? part.maximum
  if (high === Number.MAX_SAFE_INTEGER || high === undefined) return low === undefined ? kind : `${kind}, from ${low}`
  return `${kind}, ${low === undefined ? 'up' : `${low}`} to ${high}`
}

/** References merged with what stands beside them. */
function resolved(root, part) {
  const reference = part.$ref ?? part.allOf?.[0]?.$ref
  return reference ? { ...root.definitions[reference.split('/').at(-1)], ...part } : part
}
