interface Registered {
  readonly id: string
  readonly closed: boolean
}

/** aedes's list of the clients that are connected; none of it is in its types. */
export interface ClientList<C extends Registered> {
  readonly clients: { readonly [clientId: string]: C | undefined }
  _finishRegisterClient(client: C): void
  unregisterClient(client: C): void
}

/**
 * aedes (1.2.0) lists a client whose connection has ended while its CONNECT was dealt with, and one that ends so takes
 * another of its name off the list. The first would be counted for ever, and the second be replaced by nobody.
 */
export function listOnlyConnected<C extends Registered>(list: ClientList<C>): void {
  const register = list._finishRegisterClient.bind(list)
  const unregister = list.unregisterClient.bind(list)
  list._finishRegisterClient = (client) => {
    if (!client.closed) register(client)
  }
  list.unregisterClient = (client) => {
    if (list.clients[client.id] === client) unregister(client)
  }
}
