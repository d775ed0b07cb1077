export type Endpoints = { webSocket: string; trpc: string; events: string };

/** Where a server answers, by its own address (`https://host[/prefix]`) or its WebSocket's (`wss://host[/prefix]/ws`). */
export function endpointsOf(url: string): Endpoints {
  const below = (protocol: 'ws' | 'http', path: string): string => {
    const address = new URL(url);
    address.protocol = address.protocol.replace(/^(ws|http)/, protocol);
    address.pathname = `${address.pathname.replace(/\/(ws\/?)?$/, '')}${path}`;
    return address.href;
  };
  return { webSocket: below('ws', '/ws'), trpc: below('http', '/trpc'), events: below('http', '/api/v1/events') };
}
