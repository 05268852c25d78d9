import { resolve } from 'node:path'
import type { Command } from 'commander'
import { base64url, hex } from '../../base/bytes.ts'
import { peerIdOf } from '../../crypto/identity.ts'
import { loadIdentity, loadRootKey } from '../../identity/identity.ts'
import { exportRootKey, importRootKey } from '../../identity/root-key.ts'
import { run } from '../context.ts'

/** They touch files alone, so it makes no difference whether the gateway runs. */
export function addKeysCommands(program: Command): void {
  const keys = program.command('keys').description("this gateway's keys, and the mesh's root key")
  keys
    .command('show')
    .description('show the public keys, and whether the root key is here')
    .addHelpText('after', '\nExample:\n  marram keys show')
    .action((_options: object, command: Command) =>
      run(command, async (context) => {
        const { keys: device, mesh } = loadIdentity(context.dir)
        const shown = {
          peerId: peerIdOf(device.publicKey),
          publicKey: base64url(device.publicKey),
          linkPublicKey: base64url(device.linkPublicKey),
          mesh: mesh.name,
          meshId: hex(mesh.meshId),
          rootPublicKey: base64url(mesh.rootPublicKey),
          holdsRootKey: loadRootKey(context.dir, mesh) !== null,
        }
        const root = shown.holdsRootKey ? 'the root key is here' : 'the root key is not here'
        context.print(
          shown,
          `${shown.peerId}, key ${shown.publicKey}, link key ${shown.linkPublicKey}\nmesh ${shown.mesh} (${shown.meshId}), root ${shown.rootPublicKey}; ${root}`,
        )
      }),
    )
  keys
    .command('export')
    .description("copy the mesh's root key to a new file, to be kept where no gateway is")
    .argument('<file>', 'a new file; whoever has it can appoint and remove administrators')
    .option('--remove', 'then remove the root key from this gateway')
    .addHelpText('after', '\nExample:\n  marram keys export /media/usb/root-key.json --remove')
    .action((file: string, options: { remove?: boolean }, command: Command) =>
      run(command, async (context) => {
        const path = resolve(file)
        exportRootKey(context.dir, path, options.remove === true)
        const kept = options.remove ? 'it is gone from this gateway' : 'it is still on this gateway too'
        context.print({ file: path, removed: options.remove === true }, `The root key is in ${path}; ${kept}.`)
      }),
    )
  keys
    .command('import')
    .description("put the mesh's root key on this gateway, from a file that export has written")
    .argument('<file>', 'the file')
    .addHelpText('after', '\nExample:\n  marram keys import /media/usb/root-key.json')
    .action((file: string, _options: object, command: Command) =>
      run(command, async (context) => {
        const path = resolve(file)
        importRootKey(context.dir, path)
        context.print({ file: path }, 'The root key is on this gateway: it may appoint and remove administrators.')
      }),
    )
}
