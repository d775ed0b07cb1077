import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { RunwireError } from '../../shared/errors.ts';

/**
 * Decides which web pages may call the server from a browser. Two attacks are prevented:
 *
 * - Cross-site WebSocket hijacking, where a foreign page uses the user's cookie: an `Origin` header must equal the
 *   server's own origin or an allowed one, byte for byte.
 * - DNS rebinding, where a foreign name resolves to the server, and both `Origin` and `Host` contain that name: the
 *   browser sends a cookie only to the name that set it, so the foreign page has no credentials. A server on a
 *   developer's machine also refuses every `Host` that is not local.
 *
 * `X-Forwarded-Host` and `Forwarded` are ignored, because any client can send them. A proxy must pass on the `Host`
 * header (docs/guide/operations.md).
 */

export type OriginsOptions = {
  /** Origins as browsers send them, such as `https://app.example.org`. Any other form throws `INVALID_INPUT`. */
  allowed?: readonly string[] | undefined;
  /** Refuses requests with a `Host` that is neither a local name nor the host of an allowed origin. Default false. */
  onlyLocalHosts?: boolean | undefined;
  /**
   * Refuses requests from other machines, also those that a proxy on this machine forwards, and requests with another `Host`
   * than a local name. Allows pages of any local origin. Default false.
   */
  onlyThisMachine?: boolean | undefined;
};

type Request = Pick<IncomingMessage, 'headers' | 'socket'> & Partial<Pick<IncomingMessage, 'httpVersion'>>;

export class Origins {
  readonly #allowed: ReadonlySet<string>;
  readonly #onlyLocalHosts: boolean;
  readonly #onlyThisMachine: boolean;

  constructor({ allowed = [], onlyLocalHosts = false, onlyThisMachine = false }: OriginsOptions = {}) {
    allowed.forEach((origin, index) => {
      if (isOrigin(origin)) return;
      const message = 'must be an origin such as https://app.example.org, without path, trailing slash or wildcard';
      throw new RunwireError('INVALID_INPUT', message, { path: `allowedOrigins.${index}` });
    });
    this.#allowed = new Set(allowed);
    this.#onlyLocalHosts = onlyLocalHosts || onlyThisMachine;
    this.#onlyThisMachine = onlyThisMachine;
  }

  /**
   * Whether a request comes from an allowed page or a page of this server, or has no `Origin` header. Browsers omit the header
   * for a plain GET, and programs other than browsers do not send it.
   */
  allows(request: Request): boolean {
    const { origin } = request.headers;
    if (origin === undefined || this.#allowed.has(origin) || isOwn(origin, request)) return true;
    return this.#onlyThisMachine && URL.canParse(origin) && isLocal(new URL(origin).host);
  }

  /** Whether the `Host` of a request is a name of this server. */
  knowsHost(request: Request): boolean {
    const { host } = request.headers;
    if (!this.#onlyLocalHosts) return true;
    if (this.#onlyThisMachine && !isOfThisMachine(request)) return false;
    return isLocal(host) || ['http', 'https'].some((scheme) => this.#allowed.has(originOf(scheme, host) ?? ''));
  }
}

/** Whether the client used TLS, to this server or to the proxy (`X-Forwarded-Proto`). */
export function isHttps({ headers, socket }: Request): boolean {
  const forwarded = headers['x-forwarded-proto'];
  if (typeof forwarded !== 'string') return (socket as TLSSocket).encrypted === true;
  return forwarded.split(',', 1)[0]?.trim().toLowerCase() === 'https';
}

/** The origin at which the client sent a request; undefined for an invalid `Host`. */
export const ownOrigin = (request: Request): string | undefined =>
  originOf(isHttps(request) ? 'https' : 'http', request.headers.host);

/**
 * Whether an origin is that of the requested host. An `https` origin is accepted even if the proxy does not report TLS:
 * a network attacker cannot forge an `https` page. An `http` origin is refused if the client used TLS: a network
 * attacker can forge an `http` page.
 */
function isOwn(origin: string, request: Request): boolean {
  const { host } = request.headers;
  return origin === originOf('https', host) || (origin === originOf('http', host) && !isHttps(request));
}

/**
 * Returns an origin in the form that browsers send: lower case, without the default port, IPv6 addresses in their
 * shortest form. Undefined for an invalid host.
 */
function originOf(scheme: string, host: string | undefined): string | undefined {
  // A host with other characters is refused: `URL` would take parts of the host for a user, a path or a query.
  if (host === undefined || !/^[\w.:[\]-]+$/.test(host)) return undefined;
  return URL.canParse(`${scheme}://${host}`) ? new URL(`${scheme}://${host}`).origin : undefined;
}

function isLocal(host: string | undefined): boolean {
  const origin = originOf('http', host);
  if (origin === undefined) return false;
  const name = new URL(origin).hostname;
  return name === 'localhost' || name.endsWith('.localhost') || name === '[::1]' || /^127\.[\d.]+$/.test(name);
}

/** Headers in which proxies state the address of their client. */
const CLIENT_ADDRESS =
  /^(x-(original-)?forwarded-for|x-(real|client|cluster-client)-ip|(cf-connecting|true-client|fly-client|fastly-client)-ip)$/;
/** Headers of proxies that state no address which could be checked. */
const OF_PROXIES = ['forwarded', 'via'];

/**
 * Whether the client, and the client of each proxy, has a loopback address. HTTP/1.0 is what a proxy speaks that was not
 * configured for WebSockets, and no browser. A proxy that adds nothing to its requests cannot be noticed.
 */
function isOfThisMachine({ headers, socket, httpVersion }: Request): boolean {
  const forwarded = Object.entries(headers).flatMap(([name, value = []]) =>
    CLIENT_ADDRESS.test(name) ? [value].flat().flatMap((list) => list.split(',')) : [],
  );
  const addresses = [socket.remoteAddress ?? '', ...forwarded].map((address) => address.trim().replace(/^::ffff:/, ''));
  const isDirect = httpVersion !== '1.0' && OF_PROXIES.every((name) => headers[name] === undefined);
  const host = headers['x-forwarded-host'];
  const isLocalHost =
    host === undefined || [host].flat().every((list) => list.split(',').every((one) => isLocal(one.trim())));
  return isDirect && isLocalHost && addresses.every((address) => /^(::1|127\.[\d.]+)$/.test(address));
}

/** Whether browsers, or apps with their own scheme, send this origin. Not `null`, which every sandboxed page sends. */
export function isOrigin(origin: string): boolean {
  if (!/^[a-z][a-z\d+.-]*:\/\/[^/?#@\s*]+$/.test(origin)) return false;
  return !/^https?:/.test(origin) || (URL.canParse(origin) && new URL(origin).origin === origin);
}
