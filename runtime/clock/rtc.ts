import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ClockProbe } from './probe.ts'

/** Linux, Documentation/ABI/testing/sysfs-class-rtc: `since_epoch` is the time that the clock on the board keeps, in seconds. */
const RTC_FOLDER = '/sys/class/rtc'
/** Clocks on boards lose seconds in a month; the system's clock was set from them when it started. */
const AGREES_MS = 60_000

/**
 * A clock with a battery that agrees with the system's. One whose battery is empty starts in 1970 and agrees with nothing.
 */
export function rtcProbe(folder: string = RTC_FOLDER): ClockProbe {
  return {
    source: 'rtc',
    look: async (wallMs) => {
      const names = await readdir(folder).catch(() => [])
      for (const name of names) {
        const text = await readFile(join(folder, name, 'since_epoch'), 'utf8').catch(() => '')
        const seconds = /^\d+\n?$/.test(text) ? Number(text) : Number.NaN
        if (Math.abs(seconds * 1_000 - wallMs) <= AGREES_MS) return `${name} ${seconds}`
      }
      return null
    },
  }
}
