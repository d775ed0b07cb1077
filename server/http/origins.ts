import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { RunwireError } from '../../shared/errors.ts';

/**
 * Which pages a browser may call us from. Against cross-site WebSocket hijacking, an Origin is either the server's own or
 * an allowed one, as a whole and byte for byte. Against DNS rebinding, under which a foreign name leads to us and so is
 * Origin and Host alike, nothing more is needed where pages hold credentials of their own, since cookies go by name;
 * but a server on somebody's own machine, with nobody to look after it, answers to local names alone.
 *
 * Neither `X-Forwarded-Host` nor `Forwarded` is looked at: a proxy in front hands the `Host` on (docs/guide/operations.md).
 */

export type OriginsOptions = {
  /** As browsers write them, `https://app.example.org`; throws `INVALID_INPUT` for any that no browser writes. */
  allowed?: readonly string[] | undefined;
  /** Refuses requests whose Host is neither a name of the machine itself nor that of an allowed origin. */
  onlyLocalHosts?: boolean | undefined;
};

type Request = Pick<IncomingMessage, 'headers' | 'socket'>;

export class Origins {
  readonly #allowed: ReadonlySet<string>;
  readonly #onlyLocalHosts: boolean;

  constructor({ allowed = [], onlyLocalHosts = false }: OriginsOptions = {}) {
    allowed.forEach((origin, index) => {
      if (isOrigin(origin)) return;
      const message = 'must be an origin such as https://app.example.org: no path, no slash at its end, no wildcard';
      throw new RunwireError('INVALID_INPUT', message, { path: `allowedOrigins.${index}` });
    });
    this.#allowed = new Set(allowed);
    this.#onlyLocalHosts = onlyLocalHosts;
  }

  /** Whether the page that a request comes from may make it. A request without an Origin is no page's, or a plain GET. */
  allows(request: Request): boolean {
    const { origin } = request.headers;
    return origin === undefined || this.#allowed.has(origin) || isOwn(origin, request);
  }

  /** Whether a request was sent to a name that is this server's. */
  knowsHost({ headers: { host } }: Request): boolean {
    if (!this.#onlyLocalHosts) return true;
    return isLocal(host) || ['http', 'https'].some((scheme) => this.#allowed.has(originOf(scheme, host) ?? ''));
  }
}

/** Whether the client came over TLS, to us or, as the proxy says that took it off, to the proxy. */
export function isHttps({ headers, socket }: Request): boolean {
  const forwarded = headers['x-forwarded-proto'];
  if (typeof forwarded !== 'string') return (socket as TLSSocket).encrypted === true;
  return forwarded.split(',', 1)[0]?.trim().toLowerCase() === 'https';
}

/**
 * The origin of the address that was asked for. A proxy that says nothing of TLS is believed to have it, where the page
 * has: nobody on the network can forge an `https` page, while an `http` one of a server that is reached by `https` is
 * not the server's own.
 */
function isOwn(origin: string, request: Request): boolean {
  const { host } = request.headers;
  return origin === originOf('https', host) || (origin === originOf('http', host) && !isHttps(request));
}

/** As a browser writes it: in lower case, the default port left out, an IPv6 address in its shortest form. */
function originOf(scheme: string, host: string | undefined): string | undefined {
  // What URL would take for a user, a path or a query is no host.
  if (host === undefined || !/^[\w.:[\]-]+$/.test(host)) return undefined;
  return URL.canParse(`${scheme}://${host}`) ? new URL(`${scheme}://${host}`).origin : undefined;
}

function isLocal(host: string | undefined): boolean {
  const origin = originOf('http', host);
  if (origin === undefined) return false;
  const name = new URL(origin).hostname;
  return name === 'localhost' || name.endsWith('.localhost') || name === '[::1]' || /^127\.[\d.]+$/.test(name);
}

/** Whether a browser could send it; `null`, which every sandboxed page sends, is nobody's. Apps have schemes of their own. */
export function isOrigin(origin: string): boolean {
  if (!/^[a-z][a-z\d+.-]*:\/\/[^/?#@\s*]+$/.test(origin)) return false;
  return !/^https?:/.test(origin) || (URL.canParse(origin) && new URL(origin).origin === origin);
}
