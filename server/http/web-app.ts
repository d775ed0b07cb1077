import { existsSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import send from 'send';
import { RunwireError } from '../../shared/errors.ts';
import type { Handler } from './dispatch.ts';
import { noSuchPath, pathOf } from './messages.ts';

/** Serves the files of the built web app. */

/**
 * Allows scripts and styles from files of this server only, and none in the HTML itself. React sets styles through the
 * CSSOM, which `style-src` permits. `SOCKETS` is replaced with the WebSocket origins of the host: not every browser
 * includes them in `'self'`.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self' SOCKETS",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');
/**
 * Headers that override the defaults. The files contain no private data, so a browser may store them, but must ask the
 * server each time whether a file has changed.
 */
const HEADERS = { 'cache-control': 'no-cache', 'cross-origin-opener-policy': 'same-origin' };
const DOCUMENT = '/index.html';
/** Paths of the app's pages. An id in them may look like the name of a file. */
const PAGES = /^\/(?:$|runs\/|settings\/|(?:approvals|search|operations|sign-in)$)/;

/**
 * Serves the files of a folder. Each page URL of the app returns the same HTML document, and the app's script shows the
 * page. Rejects with `NOT_FOUND`, and with `UNAVAILABLE` for a file that exists but cannot be read.
 */
export function serveApp(
  folder: string,
  providerOrigin?: () => string,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const sendOwn = (path: string, request: IncomingMessage, response: ServerResponse) =>
    sendFile(folder, path, policyFor(request, providerOrigin?.()), request, response);
  return async (request, response) => {
    const path = pathOf(request) ?? '';
    const isPage = PAGES.test(path);
    try {
      await sendOwn(isPage ? DOCUMENT : path, request, response);
    } catch (error) {
      // For an unknown page, a browser gets the app, which shows an error page. Other clients must get an error.
      const isUnknownPage =
        error instanceof RunwireError && error.code === 'NOT_FOUND' && !isPage && acceptsPage(request);
      if (!isUnknownPage) throw error;
      await sendOwn(DOCUMENT, request, response);
    }
  };
}

export const acceptsPage = (request: IncomingMessage): boolean => /\btext\/html\b/.test(request.headers.accept ?? '');

/** The app renews a session without a refresh token in a hidden frame, which the provider answers. */
function policyFor({ headers: { host = '' } }: IncomingMessage, providerOrigin: string | undefined): string {
  const sockets = /^[\w.:[\]-]+$/.test(host) ? `ws://${host} wss://${host}` : '';
  const frames = providerOrigin === undefined ? '' : `; frame-src 'self' ${providerOrigin}`;
  return CONTENT_SECURITY_POLICY.replace('SOCKETS', sockets) + frames;
}

function sendFile(
  root: string,
  path: string,
  policy: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  return new Promise((resolve, reject) => {
    send(request, path, { root, index: false, dotfiles: 'ignore', cacheControl: false })
      .on('headers', (_response: ServerResponse) => {
        for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
        response.setHeader('content-security-policy', policy);
      })
      .on('directory', () => reject(noSuchPath()))
      .on('error', (error: { status?: number }) => {
        // The file exists, but a build is in progress, or no file descriptor is free: a retry may succeed.
        const isUnreadable = (error.status ?? 500) >= 500;
        reject(isUnreadable ? new RunwireError('UNAVAILABLE', 'the file cannot be read now') : noSuchPath());
      })
      .on('end', () => resolve())
      .pipe(response);
    response.once('close', () => resolve());
  });
}

/** Serves the built app. Every path gives `NOT_FOUND` if the app was not built. */
export function openApp(providerOrigin: (() => string) | undefined): Handler {
  const folder = ['../../app', '../../dist/app']
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(`${path}/index.html`));
  if (folder !== undefined) return serveApp(folder, providerOrigin);
  return () => {
    throw noSuchPath();
  };
}
