import { isIP } from 'node:net';
import { Webhook as Signer } from 'standardwebhooks';
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici';
import type { WebhookFailure } from '../../shared/webhooks.ts';
import type { WebhookRecord } from '../event-log/contract/webhooks.ts';
import { ADDRESS_REFUSED, hostOf, refused, type WebhookAddresses } from './addresses.ts';

/**
 * Sends one message over HTTP: signed by Standard Webhooks, to a checked address, for a bounded time. Redirects are not
 * followed, and only the beginning of an answer is read.
 */

/** Open connections to one receiver: a webhook has no more deliveries in flight. */
export const MAX_CONNECTIONS = 8;
const MAX_ANSWER_BYTES = 4_096;
const MAX_ANSWER_CHARACTERS = 500;

export type OutgoingMessage = { url: string; messageId: string; body: string; secrets: readonly string[] };
export type Answer = {
  status?: number;
  /** Absent if the receiver has taken the message. */
  failure?: WebhookFailure;
  ms: number;
  answer: string;
  /** Time that the receiver asks to wait (`Retry-After`). */
  retryAfterMs?: number;
};

export type SenderOptions = {
  addresses: WebhookAddresses;
  /** Address of the proxy for a URL; undefined for none. */
  proxyOf?: ((url: string) => string | undefined) | undefined;
  timeoutMs: number;
};

export class WebhookSender {
  readonly #options: SenderOptions;
  readonly #agent: Agent;
  readonly #proxies = new Map<string, ProxyAgent>();

  constructor(options: SenderOptions) {
    this.#options = options;
    const { addresses, timeoutMs } = options;
    this.#agent = new Agent({
      connections: MAX_CONNECTIONS,
      pipelining: 1,
      connect: { lookup: addresses.lookup, timeout: timeoutMs },
    });
  }

  /** Never rejects. An abort of the signal is the failure `internal`. */
  async send(message: OutgoingMessage, signal: AbortSignal): Promise<Answer> {
    const began = performance.now();
    const ms = () => Math.round(performance.now() - began);
    const deadline = AbortSignal.timeout(this.#options.timeoutMs);
    let status: number | undefined;
    let retryAfterMs: number | undefined;
    let answer = '';
    try {
      const dispatcher = await this.#dispatcherOf(new URL(message.url));
      const response = await request(message.url, {
        method: 'POST',
        headers: { ...headersOf(message, new Date()), 'content-type': 'application/json', 'user-agent': 'Runwire' },
        body: message.body,
        dispatcher,
        signal: AbortSignal.any([signal, deadline]),
      });
      status = response.statusCode;
      retryAfterMs = retryAfterOf(response.headers['retry-after']);
      answer = await beginningOf(response.body);
    } catch (error) {
      // The body of an answer may break off. Its status decides.
      if (status === undefined) {
        return { failure: deadline.aborted ? 'timeout' : failureOf(error), ms: ms(), answer: '' };
      }
    }
    const failure = failureOfStatus(status);
    return {
      status,
      ms: ms(),
      answer,
      ...(failure === undefined ? {} : { failure }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    };
  }

  async close(): Promise<void> {
    await Promise.all([this.#agent, ...this.#proxies.values()].map((agent) => agent.destroy()));
  }

  /** Checks the address as far as it is known here, and returns the connections to use. */
  async #dispatcherOf(url: URL): Promise<Dispatcher> {
    const { addresses, proxyOf } = this.#options;
    const host = hostOf(url);
    if (isIP(host) !== 0 && !addresses.allows(host, host)) throw refused();
    const proxy = proxyOf?.(url.href);
    if (!proxy) return this.#agent;
    // The proxy resolves the name. A name that is unknown here is left to it.
    await new Promise<void>((resolve, reject) => {
      addresses.lookup(host, { all: true }, (error) => {
        if ((error as NodeJS.ErrnoException | null)?.code === ADDRESS_REFUSED) reject(error);
        else resolve();
      });
    });
    let agent = this.#proxies.get(proxy);
    if (!agent) {
      agent = new ProxyAgent({ uri: proxy, connections: MAX_CONNECTIONS, pipelining: 1 });
      this.#proxies.set(proxy, agent);
    }
    return agent;
  }
}

/** The headers of Standard Webhooks, with a signature by each secret. */
export function headersOf(
  { messageId, body, secrets }: Pick<OutgoingMessage, 'messageId' | 'body' | 'secrets'>,
  at: Date,
): Record<string, string> {
  return {
    'webhook-id': messageId,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': secrets.map((secret) => new Signer(secret).sign(messageId, at, body)).join(' '),
  };
}

/** Reads the beginning of an answer, and drops the rest with its connection. */
async function beginningOf(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= MAX_ANSWER_BYTES) break;
    }
  } finally {
    body.on('error', () => undefined).destroy();
  }
  const text = Buffer.concat(chunks).subarray(0, MAX_ANSWER_BYTES).toString('utf8');
  const characters = [...text.replace(/[^\P{Cc}\n\t]/gu, '')];
  return characters.slice(0, MAX_ANSWER_CHARACTERS).join('');
}

function failureOfStatus(status: number): WebhookFailure | undefined {
  if (status >= 200 && status < 300) return undefined;
  return status >= 300 && status < 400 ? 'redirect' : 'status';
}

/** Returns the time that `Retry-After` names: seconds, or a date. */
export function retryAfterOf(header: string | string[] | undefined, nowMs = Date.now()): number | undefined {
  const text = [header].flat()[0]?.trim() ?? '';
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  const at = text === '' ? Number.NaN : Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

function failureOf(error: unknown): WebhookFailure {
  const codes: string[] = [];
  const visit = (each: unknown): void => {
    const { code, cause, errors } = (each ?? {}) as { code?: unknown; cause?: unknown; errors?: unknown[] };
    if (typeof code === 'string') codes.push(code);
    if (cause) visit(cause);
    for (const part of errors ?? []) visit(part);
  };
  visit(error);
  const some = (pattern: RegExp) => codes.some((code) => pattern.test(code));
  if (codes.includes(ADDRESS_REFUSED)) return 'address_refused';
  if (some(/TIMEOUT|ETIMEDOUT/)) return 'timeout';
  if (some(/^(ENOTFOUND|EAI_)/)) return 'dns';
  if (some(/CERT|TLS|SSL|UNABLE_TO/)) return 'tls';
  if (some(/^(E[A-Z]+|UND_ERR_SOCKET|UND_ERR_.*|HPE_.*)$/)) return 'connection';
  return 'internal';
}

/** The secrets that sign a message at a time. */
export const secretsOf = ({ secrets }: WebhookRecord, nowMs: number): string[] =>
  secrets
    .filter(({ validUntil }) => validUntil === undefined || Date.parse(validUntil) > nowMs)
    .map(({ secret }) => secret);
