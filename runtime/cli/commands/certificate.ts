import type { Command } from 'commander'
import { MarramError } from '../../base/errors.ts'
import { authorityIn } from '../../certificates/identity.ts'
import { tlsFileOf } from '../../identity/tls-file.ts'
import { run } from '../context.ts'

export function addCertificateCommand(program: Command): void {
  program
    .command('certificate')
    .description('print the certificate that devices need for TLS listeners (mqtts)')
    .addHelpText(
      'after',
      '\nExample:\n  marram certificate > gateway.pem\n  mosquitto_pub --cafile gateway.pem -p 8883 …',
    )
    .action((_options: object, command: Command) =>
      run(command, async (context) => {
        const authority = authorityIn(tlsFileOf(context.dir).read() ?? '')
        if (!authority)
          throw new MarramError(
            'not-found',
            `Cannot print the certificate of "${context.dir}": it has none, one is made when a gateway with an address such as mqtts://[::]:8883 in broker.listen starts`,
          )
        context.print(authority, authority.pem.trim())
      }),
    )
}
