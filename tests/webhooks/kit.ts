import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import { Webhook as Verifier } from 'standardwebhooks';
import type { RunEvent } from '../../shared/events.ts';
import type { WebhookFilter } from '../../shared/webhooks.ts';
import { everyone, openServer } from '../support/harness.ts';
import { freePort } from '../support/ports.ts';

/** Shared by the tests of webhooks: servers with short waits, and receivers on the loopback address. */

export type Received = {
  id: string;
  headers: IncomingHttpHeaders;
  text: string;
  body: { type: string; timestamp: string; data: RunEvent };
  /** The answer that the receiver has given; 0 if it gave none. */
  status: number;
};

/** Returns a status, answers itself, or with undefined never answers. */
export type Behaviour = (message: Received, response: ServerResponse, earlier: number) => number | 'own' | undefined;

/** An HTTP server that keeps what it receives. */
export class Receiver implements AsyncDisposable {
  readonly received: Received[] = [];
  behaviour: Behaviour;
  #server: Server;
  #port = 0;
  #waiting: (() => void)[] = [];

  private constructor(behaviour: Behaviour) {
    this.behaviour = behaviour;
    this.#server = this.#newServer();
  }

  static async open(behaviour: Behaviour = () => 204): Promise<Receiver> {
    const receiver = new Receiver(behaviour);
    await receiver.start();
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/hook`;
  }
  /** Messages that were answered with 2xx. */
  get taken(): Received[] {
    return this.received.filter(({ status }) => status >= 200 && status < 300);
  }
  get takenIds(): string[] {
    return this.taken.map(({ id }) => id);
  }

  async start(): Promise<void> {
    if (this.#server.listening) return;
    this.#server = this.#newServer();
    this.#port ||= await freePort();
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves once so many different messages were taken. */
  untilTaken(count: number): Promise<void> {
    return this.until(() => new Set(this.takenIds).size >= count);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #newServer(): Server {
    return createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      try {
        for await (const chunk of request) chunks.push(chunk as Buffer);
      } catch {
        return; // The sender has left.
      }
      const text = Buffer.concat(chunks).toString('utf8');
      const id = String(request.headers['webhook-id']);
      const earlier = this.received.filter((message) => message.id === id).length;
      const message: Received = { id, headers: request.headers, text, body: JSON.parse(text), status: 0 };
      this.received.push(message);
      const status = this.behaviour(message, response, earlier);
      if (typeof status === 'number') {
        message.status = status;
        response.writeHead(status).end('answer');
      }
      for (const resolve of this.#waiting.splice(0)) resolve();
    });
  }
}

/** Waits that fit a test. A receiver that answers has the time of a busy machine for it. */
export const quick = {
  firstMs: 20,
  maxMs: 60,
  maxProbeMs: 60,
  newProbeMs: 30,
  timeoutMs: 10_000,
  maxRefusals: 4,
  maxTries: 4,
  maxAgeMs: 3_600_000,
};

export type OpenOptions = Parameters<typeof openServer>[0];

/** A server that may send to the loopback address, and a caller with every right. */
export async function openWithWebhooks(options: OpenOptions = {}) {
  const server = await openServer({ webhookAllow: ['127.0.0.0/8'], webhookRetries: quick, ...options });
  return { ...server, api: server.router.createCaller({ principal: everyone }).webhook };
}

export type Api = Awaited<ReturnType<typeof openWithWebhooks>>['api'];

export const webhookTo = (
  { create }: Api,
  { url }: { url: string },
  more: { name?: string; filter?: WebhookFilter; shape?: 'json' | 'slack' | 'teams'; fromSeq?: number } = {},
) => create({ name: 'to a test', url, filter: {}, ...more } as never);

/** Throws unless the library accepts the signature. */
export function verify({ headers, text }: Received, secret: string): unknown {
  return new Verifier(secret).verify(text, headers as Record<string, string>);
}

/** The events of each run in the order in which they were taken first. */
export function takenByRun(receiver: Receiver): Map<string, number[]> {
  const seen = new Set<string>();
  const byRun = new Map<string, number[]>();
  for (const { id, body } of receiver.taken) {
    if (seen.has(id)) continue;
    seen.add(id);
    const { runId, runSeq } = body.data;
    byRun.set(runId, [...(byRun.get(runId) ?? []), runSeq]);
  }
  return byRun;
}

/** Resolves once a condition of the server holds. */
export async function eventually<T>(read: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
