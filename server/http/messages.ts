import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type ErrorCode, errorCodes, RunwireError } from '../../shared/errors.ts';

/** Helpers for reading HTTP requests and writing responses. */

/**
 * Headers of every response, unless the handler replaces them. HSTS (`strict-transport-security`) is not among them:
 * HSTS applies to every port and service of the host, so the proxy that terminates TLS must set it
 * (docs/guide/operations.md).
 */
const defaultHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

/** Sets headers that forbid a browser to store, embed, execute or sniff a response. */
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

/** Sent with `RATE_LIMITED` and `UNAVAILABLE`. Most causes pass within a second. */
export const RETRY_AFTER_SECONDS = '1';
export const isTemporary = (code: ErrorCode): boolean => code === 'RATE_LIMITED' || code === 'UNAVAILABLE';

export function sendError(response: ServerResponse, error: RunwireError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (error.code === 'UNAUTHENTICATED') response.setHeader('www-authenticate', 'Bearer');
  if (isTemporary(error.code)) response.setHeader('retry-after', RETRY_AFTER_SECONDS);
  sendJson(response, errorCodes[error.code], error);
}

/** Time for a client to send the rest of a refused request. */
const DISCARD_MS = 1_000;

/**
 * Reads and discards the rest of a refused request, for at most {@link DISCARD_MS}. If a socket is closed with unread
 * data, TCP resets the connection, and the client may lose the response. If more is left, the connection closes with the
 * response. Never rejects.
 */
export async function discardRest(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.complete || request.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timeout);
      request.off('end', done).off('close', done);
      resolve();
    };
    const timeout = setTimeout(done, DISCARD_MS);
    request.on('end', done).on('close', done).resume();
  });
  if (!request.complete && !response.headersSent) response.setHeader('connection', 'close');
}

/**
 * Destroys a response when it has unsent bytes and its client has read nothing for `stalledMs`. The timeout of the socket
 * also passes while the server has nothing to send: then the client is not stalled.
 */
export function closeWhenStalled(response: ServerResponse, stalledMs: number): void {
  response.setTimeout(stalledMs, () => {
    if (response.writableLength > 0) response.destroy();
  });
}

/** Calls `listener` once the response is sent or its connection has closed. */
export function whenClosed(response: ServerResponse, listener: () => void): void {
  if (response.closed) listener();
  else response.once('close', listener);
}

/** Resolves once the response has drained or closed. */
export function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
    if (response.destroyed || !response.writableNeedDrain) done();
  });
}

/**
 * Sends an error status on a socket without a `ServerResponse`: for an upgrade, or a request that cannot be parsed.
 * Then discards further data, as {@link discardRest} does, and destroys the socket if the client has not closed it.
 */
export function refuseSocket(socket: Duplex, status: string): void {
  // At an upgrade, Node removes its own error listener. Without one, an error would end the process. Only one is added, because a
  // client that keeps sending is refused many times.
  socket.off('error', destroyThis).on('error', destroyThis);
  if (!socket.writable) return; // Refused before, but the client keeps sending.
  const timeout = setTimeout(() => socket.destroy(), DISCARD_MS);
  socket.once('close', () => clearTimeout(timeout));
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
  socket.resume();
}

/** A listener for the errors of a socket. */
export function destroyThis(this: Duplex): void {
  this.destroy();
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

/** The path of a request without its query. Undefined if the target is not a path, as in `OPTIONS *`. */
export function pathOf(request: IncomingMessage): string | undefined {
  const target = request.url ?? '';
  return target.startsWith('/') ? target.split('?', 1)[0] : undefined;
}

export function queryOf(request: IncomingMessage): URLSearchParams {
  const at = (request.url ?? '').indexOf('?');
  return new URLSearchParams(at < 0 ? '' : (request.url ?? '').slice(at + 1));
}

export const noSuchPath = (): RunwireError => new RunwireError('NOT_FOUND', 'no such path, or not with this method');
