import { fail, ok, type Result } from '../base/result.ts'

/** Where a broker is reached: `mqtt://host:port`. */
export interface BrokerAddress {
  readonly host: string
  readonly port: number
}

const PORT = 1883

export function parseAddress(text: string): Result<BrokerAddress> {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url?.protocol === 'mqtts:')
    return fail('not-supported', `Cannot dial "${text}": TLS between gateways is not built yet, use mqtt://`)
  if (url?.protocol !== 'mqtt:' || url.hostname === '') {
    return fail('bad-request', `Cannot dial "${text}": it must be an address such as mqtt://10.0.0.2:1883`)
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return ok({ host, port: url.port === '' ? PORT : Number(url.port) })
}
