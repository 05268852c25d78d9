/**
 * Makes runtime/profile/generated/ from device-profiles/: the schema's validator as standalone code (ajv is needed at
 * build time only), its TypeScript types, and the schema and the default profile as modules. With `--readme` it also
 * brings the tables of device-profiles/README.md up to date.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import standalone from 'ajv/dist/standalone/index.js'
import { compile } from 'json-schema-to-typescript'
import { withReference } from './profile-reference.mjs'

const ROOT = new URL('../', import.meta.url)
const SCHEMA = new URL('device-profiles/schema/device-profile.v1.schema.json', ROOT)
const GATEWAY = new URL('device-profiles/gateway.json', ROOT)
const README = new URL('device-profiles/README.md', ROOT)
const OUT = new URL('runtime/profile/generated/', ROOT)
const NOTICE = '// Made by scripts/generate-profile.mjs from device-profiles/: changes belong there.\n'
/** Keywords for people and for our own code: they decide nothing about what is valid. */
const NOTES = ['title', 'description', 'default', 'examples', 'x-applies', 'x-unit', 'x-minimum', 'x-maximum', 'x-form']

/** Writes only what differs, so an unchanged schema makes no work for the compiler. */
export async function generateProfile() {
  const schema = await readJson(SCHEMA)
  const gateway = await readJson(GATEWAY)
  delete gateway.$schema
  await mkdir(OUT, { recursive: true })
  await writeModule('validate.ts', validatorOf(schema))
  await writeModule('given.ts', await typesOf(schema, 'DeviceProfile'))
  await writeModule('filled.ts', await typesOf(withDefaultsRequired(schema), 'FilledProfile'))
  await writeModule('schema.ts', constantOf('PROFILE_SCHEMA', 'Schema', '../schema.ts', schema))
  await writeModule('default.ts', constantOf('DEFAULT_PROFILE', 'DeviceProfile', './given.ts', gateway))
}

export async function updateReadme() {
  await writeIfChanged(README, withReference(await readFile(README, 'utf8'), await readJson(SCHEMA)))
}

/** ajv's output carries no types, so the compiler is told to take it as it is. */
function validatorOf(schema) {
  const ajv = new Ajv({
    allErrors: true,
    allowUnionTypes: true,
    messages: false,
    code: { source: true, esm: true, lines: true },
  })
  const code = standalone
    .default(ajv, ajv.compile(withoutNotes(schema)))
    .replace('"use strict";', '')
    .replace(/^export default \w+;$/m, '')
    .replace('export const validate =', "export const validate: import('../shape.ts').Validate =")
    .replaceAll('require("ajv/dist/runtime/ucs2length").default', '(text) => Array.from(text).length')
  // Unique items of no declared type would need ajv's comparison, and take time in the square of their number.
  if (/\b(require|import)\b *["'{]|\brequire *\(/.test(code)) {
    throw new Error('Cannot generate the validator: its code needs ajv at run time, it must stand alone')
  }
  return `// @ts-nocheck\n${code}`
}

function typesOf(schema, name) {
  const options = { bannerComment: '', additionalProperties: false, ignoreMinAndMaxItems: true, format: false }
  const { $id: _id, ...rest } = withoutTitles(schema)
  return compile(rest, name, options)
}

/** The validator carries its schema along, so it gets no more than it needs. */
function withoutNotes(schema) {
  return mapSchema(schema, (part) => Object.fromEntries(Object.entries(part).filter(([key]) => !NOTES.includes(key))))
}

/** Titles would become names of types. */
function withoutTitles(schema) {
  return mapSchema(schema, ({ title: _title, ...rest }) => rest)
}

/** The schema of profiles whose defaults are filled in. */
function withDefaultsRequired(schema) {
  return mapSchema(schema, (part) => {
    const filled = Object.entries(part.properties ?? {}).filter(([, property]) => 'default' in property)
    if (filled.length === 0) return part
    return { ...part, required: [...(part.required ?? []), ...filled.map(([key]) => key)] }
  })
}

/** Applies `change` to every schema within the schema. */
function mapSchema(schema, change) {
  const mapAll = (parts) =>
    Object.fromEntries(Object.entries(parts).map(([key, part]) => [key, mapSchema(part, change)]))
  const mapped = { ...schema }
  for (const keyword of ['properties', 'definitions']) if (schema[keyword]) mapped[keyword] = mapAll(schema[keyword])
  for (const keyword of ['items', 'additionalProperties', 'propertyNames']) {
    if (typeof schema[keyword] === 'object') mapped[keyword] = mapSchema(schema[keyword], change)
  }
  return change(mapped)
}

function constantOf(name, type, from, value) {
  return `import type { ${type} } from '${from}'\n\nexport const ${name}: ${type} = ${JSON.stringify(value, null, 2)}\n`
}

async function readJson(url) {
  return JSON.parse(await readFile(url, 'utf8'))
}

function writeModule(name, text) {
  return writeIfChanged(new URL(name, OUT), NOTICE + text)
}

/** By rename, so that builds at the same time never read half a file. */
async function writeIfChanged(url, text) {
  const before = await readFile(url, 'utf8').catch(() => null)
  if (before === text) return
  const draft = new URL(`${url.href}.${process.pid}`)
  await writeFile(draft, text)
  await rename(draft, url)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await generateProfile()
  if (process.argv.includes('--readme')) await updateReadme()
}
