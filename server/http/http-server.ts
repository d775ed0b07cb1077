import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Upgrade } from '../ws/upgrade.ts';
import { pathOf, refuseSocket } from './messages.ts';

/**
 * Takes our requests and upgrades before any listener of the server sees them, whenever it was added: an application
 * would answer 404 to our paths, and `ws`, with a path of its own, 400 to our upgrades. Upgrades that nobody listens to
 * are refused rather than left to hang.
 */
export function attachTo(server: Server, own: Handler, upgrade: Upgrade): () => void {
  const emit = server.emit as (this: Server, event: string | symbol, ...args: unknown[]) => boolean;
  let isAttached = true;
  const isOurs = (event: string | symbol, args: unknown[]): boolean => {
    if (event === 'request') return own(...(args as [IncomingMessage, ServerResponse]));
    const [request, socket, head] = args as [IncomingMessage, Duplex, Buffer];
    if (event !== 'upgrade' || pathOf(request) !== WS_PATH) return false;
    upgrade(request, socket, head);
    return true;
  };
  const attached = function (this: Server, event: string | symbol, ...args: unknown[]): boolean {
    return (isAttached && isOurs(event, args)) || emit.call(this, event, ...args);
  };
  server.emit = attached;
  // Node asks for a listener before it emits an upgrade at all. Several of our servers may be attached to one.
  const refuseUnheard = (_request: IncomingMessage, socket: Duplex) => {
    const listeners = server.listeners('upgrade');
    const isUnheard = listeners.every(({ name }) => name === refuseUnheard.name);
    if (isUnheard && listeners[0] === refuseUnheard) refuseSocket(socket, '400 Bad Request');
  };
  server.on('upgrade', refuseUnheard);
  return () => {
    isAttached = false;
    if (server.emit === attached) server.emit = emit;
    server.off('upgrade', refuseUnheard);
  };
}

export type Handler = (request: IncomingMessage, response: ServerResponse) => boolean;
export const WS_PATH = '/ws';
/** Longer HTTP answers than this are cut off at the end: SSE streams never finish by themselves. */
export const HTTP_GRACE_MS = 1000;
