import { GATEWAY_LIMITS } from '../base/limits.ts'
import { BRIDGE_COLLECTION } from '../model/names.ts'
import type { Result } from '../base/result.ts'
import { isConflict, parseAddress, parseHostPort, type HostPort } from './address.ts'
import { fillDefaults, type DeviceProfile, type FilledProfile } from './defaults.ts'
import { nameOf, type ProfileError } from './error.ts'
import { errorOf, type Finding } from './finding.ts'
import { expandPartition } from './partition.ts'
import { checkRanges } from './ranges.ts'
import { schemaAt } from './schema.ts'
import { checkBridge, checkInterest, checkSources } from './sources.ts'
import { valueOf, type Node, type Path } from './tree.ts'

/** Everything in which a profile of the right shape contradicts itself or can't be carried out. */
export function checkMeaning(root: Node): ProfileError[] {
  const profile = fillDefaults(valueOf(root) as DeviceProfile)
  const checks = [checkStorage, checkListeners, checkMesh, checkCollections, checkInterest, checkSources, checkBridge]
  const findings = [...checkRanges(root, schemaAt([]), []), ...checks.flatMap((check) => check(profile))]
  return findings.map((finding) => errorOf(root, finding))
}

function checkStorage({ storage }: FilledProfile): Finding[] {
  if (storage.encryption === 'none' || storage.key !== undefined) return []
  const is = 'there is no "storage.key"'
  return [{ path: ['storage', 'encryption'], is, must: '"none", or beside a "key" that names the file of the key' }]
}

function checkListeners(profile: FilledProfile): Finding[] {
  const findings: Finding[] = []
  const taken: { at: HostPort; by: string }[] = []
  const listen = (path: Path, parsed: Result<HostPort>): void => {
    if (!parsed.ok)
      return void findings.push({ path, is: 'its port is above 65535', must: 'an address with a port of 0 to 65535' })
    const other = taken.find(({ at }) => isConflict(at, parsed.value))
    if (other) findings.push({ path, is: `its port is that of ${other.by}`, must: 'an address of its own' })
    taken.push({ at: parsed.value, by: nameOf(path) })
  }
  for (const [i, text] of profile.broker.listen.entries()) listen(['broker', 'listen', String(i)], parseAddress(text))
  listen(['http', 'listen'], parseHostPort(profile.http.listen))
  return findings
}

function checkMesh({ mesh }: FilledProfile): Finding[] {
  const { min, max } = mesh.links
  const findings: Finding[] =
    min > max ? [{ path: ['mesh', 'links', 'min'], is: `it is above max (${max})`, must: `at most ${max}` }] : []
  const { linksMax, superLinksMax } = GATEWAY_LIMITS
  if (max > linksMax && !mesh.superPeer)
    findings.push({
      path: ['mesh', 'links', 'max'],
      is: `it is above ${linksMax} and this is no super-peer`,
      must: `at most ${linksMax}, or with "mesh.superPeer" up to ${superLinksMax}`,
    })
  for (const key of ['bootstrap', 'relays'] as const) {
    for (const [i, text] of mesh[key].entries()) {
      const parsed = parseAddress(text)
      if (parsed.ok && parsed.value.port > 0) continue
      const must = 'an address with a port of 1 to 65535'
      findings.push({ path: ['mesh', key, String(i)], is: 'it has no port that can be dialled', must })
    }
  }
  return findings
}

function checkCollections({ collections, node, bridge }: FilledProfile): Finding[] {
  return Object.entries(collections).flatMap(([name, collection]) => {
    const path = ['collections', name]
    const findings: Finding[] = []
    const { kind, partition, retain, encrypted, readers } = collection
    if (expandPartition(partition, node.cell) === null) {
      const hasCell = partition.replaceAll('{cell}', '').search(/[{}]/) < 0
      const is = hasCell ? 'this profile has no "node.cell"' : 'it has braces around something else than cell'
      findings.push({ path: [...path, 'partition'], is, must: hasCell ? 'without {cell}' : 'plain text and {cell}' })
    }
    if (kind === 'state' && retain) {
      findings.push({
        path: [...path, 'retain'],
        is: 'the collection is of kind state',
        must: 'left out, or the kind "series"',
      })
    }
    if (encrypted && name === '*') {
      findings.push({
        path: [...path, 'encrypted'],
        is: 'it is of all collections that have no name here',
        must: 'with each encrypted collection by its name',
      })
    }
    if (encrypted && name === BRIDGE_COLLECTION && bridge.length > 0) {
      findings.push({
        path: [...path, 'encrypted'],
        is: 'it is of what the rules under "bridge" carry to every gateway',
        must: 'false',
      })
    }
    if (!encrypted && readers.length > 0) {
      findings.push({
        path: [...path, 'readers'],
        is: 'the collection is not encrypted',
        must: 'left out, or "encrypted" true',
      })
    }
    for (const [field, { min = -Infinity, max = Infinity }] of Object.entries(collection.fields)) {
      const at = [...path, 'fields', field, 'min']
      if (min > max) findings.push({ path: at, is: `it is above max (${max})`, must: `at most ${max}` })
    }
    return findings
  })
}
