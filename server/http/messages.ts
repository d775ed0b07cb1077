import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorTable, RunwireError } from '../../shared/errors.ts';

/** What the plain HTTP routes share. */

/**
 * For answers that say nothing else. No HSTS: that would speak for every port and every other service of the host, and is
 * for whoever ends TLS there to say (docs/guide/operations.md).
 */
const defaultHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

/** Sets the headers by which a browser keeps an answer to itself, and to what it is. */
export function secureByDefault(response: ServerResponse): void {
  for (const [name, value] of Object.entries(defaultHeaders)) response.setHeader(name, value);
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}

export function sendError(response: ServerResponse, error: RunwireError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (error.code === 'UNAUTHENTICATED') response.setHeader('www-authenticate', 'Bearer');
  sendJson(response, errorTable[error.code].http, error);
}

/** How long a refused request may go on arriving. */
const DISCARD_MS = 1_000;

/**
 * Reads what is still to come of a refused request, for a while, and forgets it: a socket that is closed with something
 * unread is reset, and the reset overtakes the answer. It never rejects.
 */
export async function discardRest(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(patience);
      request.off('end', done).off('close', done);
      resolve();
    };
    const patience = setTimeout(done, DISCARD_MS);
    request.on('end', done).on('close', done).resume();
  });
}

/**
 * Refuses what has no response: a request that cannot be read, an upgrade. What still comes is read and forgotten for a
 * while, as {@link discardRest} does; who does not close then is cut off.
 */
export function refuseSocket(socket: Duplex, status: string): void {
  if (!socket.writable) return; // It is refused already, and goes on talking.
  // Of an upgrade, Node has left the socket to us: an error that nobody hears would end the process.
  socket.on('error', () => socket.destroy());
  const patience = setTimeout(() => socket.destroy(), DISCARD_MS);
  socket.once('close', () => clearTimeout(patience));
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
  socket.resume();
}

export const bearerOf = (request: IncomingMessage): string | undefined =>
  /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];

export function cookieOf(request: { headers: { cookie?: string | undefined } }, name: string): string | undefined {
  for (const pair of (request.headers.cookie ?? '').split(';')) {
    const at = pair.indexOf('=');
    if (at > 0 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim();
  }
  return undefined;
}

/** The path of a request without its query; `undefined` for a target that is no path. */
export function pathOf(request: IncomingMessage): string | undefined {
  const target = request.url ?? '';
  return target.startsWith('/') ? target.split('?', 1)[0] : undefined;
}

export function queryOf(request: IncomingMessage): URLSearchParams {
  const at = (request.url ?? '').indexOf('?');
  return new URLSearchParams(at < 0 ? '' : (request.url ?? '').slice(at + 1));
}

export const noSuchPath = (): RunwireError => new RunwireError('NOT_FOUND', 'no such path, or not with this method');
