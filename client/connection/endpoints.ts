import { RunwireError } from '../../shared/errors.ts';

export type Endpoints = { webSocket: string; trpc: string; events: string };

/**
 * Derives the URLs of the endpoints from the server's URL, `https://host[/prefix]` or `wss://host[/prefix]/ws`. In a page
 * or worker, `/prefix` and `//host` are resolved against its address. Throws `INVALID_INPUT` for any other text.
 */
export function endpointsOf(url: string): Endpoints {
  const base = serverUrlOf(url);
  const endpoint = (protocol: 'ws' | 'http', path: string): string => {
    const result = new URL(base);
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

function serverUrlOf(text: string): URL {
  if (typeof text !== 'string') throw invalid('must be a string');
  const isRelative = text.startsWith('/');
  const page = isRelative ? (globalThis.location as Location | undefined)?.href : undefined;
  const url = isRelative && page === undefined ? undefined : parse(text, page);
  // The text is not quoted: a URL may hold a password.
  if (isRelative && !url) throw invalid('a relative URL works in a page only: give the URL with its host');
  if (!url || !/^(https?|wss?):$/.test(url.protocol)) throw invalid('expected https://host, wss://host/ws or /prefix');
  url.hash = ''; // The platform's WebSocket refuses a URL with a fragment.
  return url;
}

function parse(text: string, base: string | undefined): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined;
  }
}

const invalid = (problem: string) => new RunwireError('INVALID_INPUT', `the server's URL: ${problem}`, { path: 'url' });
