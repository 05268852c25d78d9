import { hostname } from 'node:os'

const NAME_CHARACTERS_MAX = 63

/** What a gateway is called: as its profile says, else as its machine. */
export function gatewayName({ name }: { readonly name: string | null }): string {
  return (name ?? hostname()).slice(0, NAME_CHARACTERS_MAX)
}
