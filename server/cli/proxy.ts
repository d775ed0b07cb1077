import type { Agent } from 'node:http';
import { isLoopback } from '../config.ts';

/**
 * Sends the requests of this process to a server through the proxy that `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` name,
 * if any. Returns the agent for WebSockets to that server. A server on this machine is never reached through a proxy.
 */
export async function routeThroughProxy(url: string): Promise<Agent | undefined> {
  const { hostname, protocol, host } = new URL(url);
  if (isLoopback(hostname.replace(/^\[|\]$/g, ''))) return undefined;
  const { getProxyForUrl } = await import('proxy-from-env');
  const proxy = getProxyForUrl(`${/^(?:https|wss):/.test(protocol) ? 'https' : 'http'}://${host}`);
  if (proxy === '') return undefined;
  const [{ ProxyAgent, setGlobalDispatcher }, { HttpsProxyAgent }] = await Promise.all([
    import('undici'),
    import('https-proxy-agent'),
  ]);
  setGlobalDispatcher(new ProxyAgent(proxy)); // Node's `fetch` uses this dispatcher too.
  return new HttpsProxyAgent(proxy);
}
