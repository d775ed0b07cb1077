import { existsSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import send from 'send';
import { RunwireError } from '../../shared/errors.ts';
import type { Handler } from './dispatch.ts';
import { noSuchPath, pathOf } from './messages.ts';

/** The built web app, from the folder it was built into. */

/**
 * What a page may load and run: files of its own, and no text made into script or style. React sets styles by the CSSOM,
 * which `style-src` allows. SOCKETS stands for the WebSockets of the page's own host, which `'self'` does not mean in
 * every browser.
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
/** Beside those that every answer has. Files hold nothing private, and are asked for anew by their date. */
const HEADERS = { 'cache-control': 'no-cache', 'cross-origin-opener-policy': 'same-origin' };
const DOCUMENT = '/index.html';

/**
 * Answers with a file of a folder; its pages have addresses of their own, which all get the one document. Rejects with
 * `NOT_FOUND`, and with `UNAVAILABLE` where a file that is there cannot be read.
 */
export function serveApp(folder: string): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    const path = pathOf(request) ?? '';
    const isPage = path === '/' || path.startsWith('/runs/');
    try {
      await sendFile(folder, isPage ? DOCUMENT : path, request, response);
    } catch (error) {
      // A person who mistyped gets the app, which says so; a scraper or a probe must not take a page for an answer.
      const isLost = error instanceof RunwireError && error.code === 'NOT_FOUND' && !isPage && acceptsPage(request);
      if (!isLost) throw error;
      await sendFile(folder, DOCUMENT, request, response);
    }
  };
}

export const acceptsPage = (request: IncomingMessage): boolean => /\btext\/html\b/.test(request.headers.accept ?? '');
function sendFile(root: string, path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    send(request, path, { root, index: false, dotfiles: 'ignore', cacheControl: false })
      .on('headers', (_response: ServerResponse) => {
        const { host = '' } = request.headers;
        const sockets = /^[\w.:[\]-]+$/.test(host) ? `ws://${host} wss://${host}` : '';
        for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
        response.setHeader('content-security-policy', CONTENT_SECURITY_POLICY.replace('SOCKETS', sockets));
      })
      .on('directory', () => reject(noSuchPath()))
      .on('error', (error: { status?: number }) => {
        // The build under way, or no file descriptors left: the next try may find it.
        const isUnreadable = (error.status ?? 500) >= 500;
        reject(isUnreadable ? new RunwireError('UNAVAILABLE', 'the page cannot be read now') : noSuchPath());
      })
      .on('end', () => resolve())
      .pipe(response);
    response.once('close', () => resolve());
  });
}

/** Serves the built app; `NOT_FOUND` for every path where it was not built. */
export function openApp(): Handler {
  const folder = ['../../app', '../../dist/app']
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(`${path}/index.html`));
  if (folder !== undefined) return serveApp(folder);
  return () => {
    throw noSuchPath();
  };
}
