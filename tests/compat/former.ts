import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, vi } from 'vitest';
import { type Message, openSession, type SessionOptions } from '../../client/compat/session.ts';
import { RunEventBroadcaster, WebSocketManager } from '../../server/compat/index.ts';

/** A server of the former names, and the pages that its hook opens. */

export const ofKeys = ['AUTH_SECRET', 'AUTH_JWKS_URL', 'OIDC_ISSUER', 'DATABASE_URL', 'REDIS_URL', 'NODE_ENV'];

/** Waits until `check` does not throw. */
export const until = (check: () => void | Promise<void>) => vi.waitFor(check, { timeout: 30_000 });

export async function listening(): Promise<Server & { url: string }> {
  const server = createServer((_request, response) => response.writeHead(404).end("the application's 404"));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  onTestFinished(() => void server.close());
  return Object.assign(server, { url: `http://127.0.0.1:${port}` });
}

/** Starts a manager and a broadcaster of its own on an HTTP server, with these variables. */
export async function start(environment: Record<string, string> = {}) {
  for (const name of ofKeys) vi.stubEnv(name, environment[name]);
  const httpServer = await listening();
  const { url } = httpServer;
  const manager = new WebSocketManager();
  vi.spyOn(console, 'log').mockImplementation(() => undefined);
  manager.initialize(httpServer);
  onTestFinished(() => manager.shutdown());
  await until(async () => expect((await fetch(`${url}/trpc/auth.modes`)).status).toBe(200));
  return { httpServer, url, manager, broadcaster: new RunEventBroadcaster(manager) };
}

/** Opens what the hook opens, and keeps what it receives. */
export async function page(url: string, options: Partial<SessionOptions> = {}) {
  const messages: Message[] = [];
  const states: string[] = [];
  const losses: string[] = [];
  const session = openSession({
    ...{ url, reconnectAttempts: 5, reconnectDelay: 1, ...options },
    onMessage: (message) => void messages.push(message),
    onStatus: (state) => void states.push(state),
    onLoss: (error) => void losses.push(error.message),
  });
  onTestFinished(() => session.close());
  const types = () => messages.map(({ type }) => type);
  return { session, messages, states, losses, types };
}

/** Opens pages, and resolves once the server has their subscriptions. */
export async function pages(
  url: string,
  manager: WebSocketManager,
  all: Partial<SessionOptions>[],
  subscriptions: number,
) {
  const opened = await Promise.all(all.map((options) => page(url, options)));
  await until(() => expect(manager.getStats().subscriptions.get('all')).toBe(subscriptions));
  return opened;
}

export const notice = (type: string) => ({ type, timestamp: new Date().toISOString(), payload: {} });
