/** Topics that the presets read, as MQTT filters below the source's base topic. Presets that are not here are not built yet. */
const PRESETS: ReadonlyMap<string, { readonly base: string; readonly filters: readonly string[] }> = new Map([
  ['zigbee2mqtt', { base: 'zigbee2mqtt', filters: ['#'] }],
  ['tasmota', { base: '', filters: ['tele/+/#', 'stat/+/#', 'cmnd/+/#'] }],
])

export function isBuiltPreset(preset: string): boolean {
  return PRESETS.has(preset)
}

/** Filters of the topics that a preset reads, and of those of its devices that it leaves alone (commands, bridge messages). */
export function presetFilters(preset: string, base?: string): string[] {
  const known = PRESETS.get(preset)
  const root = base ?? known?.base ?? ''
  return (known?.filters ?? []).map((filter) => (root === '' ? filter : `${root}/${filter}`))
}
