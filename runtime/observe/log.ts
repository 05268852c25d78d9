import pino from 'pino'
import { printable } from '../base/printable.ts'
import type { Log } from '../ports/log.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/**
 * Lines on stderr or stdout: JSON with `event` and its fields, or one readable line each for a person at a terminal.
 * Written synchronously, so that the last words before an exit are not lost.
 */
export interface GatewayLog extends Log {
  setLevel(level: LogLevel): void
}

export function createLog(options: {
  readonly level: LogLevel
  readonly fd: 1 | 2
  readonly isHuman: boolean
}): GatewayLog {
  const destination = options.isHuman
    ? { write: (line: string) => writeHuman(options.fd, line) }
    : pino.destination({ fd: options.fd, sync: true })
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    destination,
  )
  const write =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (event: string, fields: object = {}): void =>
      logger[level]({ event, ...fields })
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    setLevel: (level) => {
      logger.level = level
    },
  }
}

function writeHuman(fd: 1 | 2, line: string): void {
  const { level, time, event, ...fields } = JSON.parse(line) as { [name: string]: unknown }
  const shown = Object.entries(fields).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const stream = fd === 1 ? process.stdout : process.stderr
  const head = `${String(time).slice(11, 19)} ${String(level).padEnd(5)} ${String(event)}`
  stream.write(`${printable([head, ...shown].join(' ').replaceAll('\n', ' '))}\n`)
}
