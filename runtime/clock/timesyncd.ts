import { stat } from 'node:fs/promises'
import type { ClockProbe } from './probe.ts'

/** Touched by systemd-timesyncd each time that it has set the clock from the network: systemd-timesyncd.service(8), "Files". */
const SYNCHRONISED_FILE = '/run/systemd/timesync/synchronized'

export function timesyncdProbe(file: string = SYNCHRONISED_FILE): ClockProbe {
  return {
    source: 'timesyncd',
    look: () =>
      stat(file).then(
        ({ mtimeMs }) => String(mtimeMs),
        () => null,
      ),
  }
}
