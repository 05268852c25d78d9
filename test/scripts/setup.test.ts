import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

interface Machine {
  readonly versions: { readonly node: string }
  readonly platform: string
  readonly arch: string
}

interface Setup {
  readonly refusalOf: (machine: Machine) => string | null
}

const SCRIPT = new URL('../../../scripts/setup.mjs', import.meta.url).href
const { refusalOf } = (await import(SCRIPT)) as Setup

function machine(node: string, platform = 'linux', arch = 'arm64'): Machine {
  return { versions: { node }, platform, arch }
}

describe('set-up', () => {
  test('accepts the oldest Node it names and every newer one', () => {
    for (const node of ['20.19.0', '20.20.2', '22.0.0', '24.1.0']) assert.equal(refusalOf(machine(node)), null, node)
  })

  test('refuses an older Node and says which one it must be', () => {
    for (const node of ['18.20.4', '20.18.3', '16.0.0'])
      assert.equal(refusalOf(machine(node)), `Cannot run on Node ${node}: it must be 20.19 or newer`)
  })

  test('accepts the machines that it has binaries for', () => {
    for (const arch of ['x64', 'arm64', 'arm']) assert.equal(refusalOf(machine('20.19.0', 'linux', arch)), null, arch)
  })

  test('refuses any other machine and lists those it runs on', () => {
    const sentence = refusalOf(machine('20.19.0', 'linux', 'mips'))
    assert.match(sentence ?? '', /^Cannot run on "linux-mips": it must be one of linux-x64, linux-arm64, linux-arm/)
  })
})
