import type { ClockProbe } from './probe.ts'

/** The operator says that something else keeps this clock right: the host of a container or of a virtual machine. */
export function operatorProbe(isTrusted: boolean): ClockProbe {
  let asked = 0
  return { source: 'operator', look: () => Promise.resolve(isTrusted ? String(++asked) : null) }
}
