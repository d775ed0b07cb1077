export type Endpoints = { webSocket: string; trpc: string; events: string };

/** Derives the URLs of the endpoints from the server's URL, `https://host[/prefix]` or `wss://host[/prefix]/ws`. */
export function endpointsOf(url: string): Endpoints {
  const endpoint = (protocol: 'ws' | 'http', path: string): string => {
    const result = new URL(url);
    result.protocol = result.protocol.replace(/^(ws|http)/, protocol);
    result.pathname = `${result.pathname.replace(/\/(ws\/?)?$/, '')}${path}`;
    return result.href;
  };
  return {
    webSocket: endpoint('ws', '/ws'),
    trpc: endpoint('http', '/trpc'),
    events: endpoint('http', '/api/v1/events'),
  };
}
