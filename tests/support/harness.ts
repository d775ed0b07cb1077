import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino, { type Logger } from 'pino';
import { type ClientOptions, type RawData, WebSocket } from 'ws';
import type { Principal, Role } from '../../server/auth/principal.ts';
import { signToken } from '../../server/auth/tokens.ts';
import { acknowledgedHead } from '../../server/event-log/current.ts';
import { type InternalOptions, openRunServer, type RunServer, type RunServerOptions } from '../../server/run-server.ts';
import type { RunEvent, RunEventDraft } from '../../shared/events.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import { consoleLogger } from './console-logger.ts';

/** Shared by the tests: a real server on a free port, tokens, raw clients, and drafts. */

export const secret = 'a secret of the tests, 32 bytes long or more';

export const allRoles: Role[] = ['viewer', 'approver', 'producer', 'admin'];
export const everyone: Principal = { sub: 'ada', projects: ['*'], roles: allRoles };

export function tokenFor(
  claims: {
    sub?: string;
    projects?: string[];
    roles?: Role[];
    runId?: string;
    ttlSeconds?: number;
    secret?: string;
  } = {},
): Promise<string> {
  const { secret: key = secret, sub = 'ada', projects = ['*'], roles = allRoles, ttlSeconds = 3_600, ...rest } = claims;
  return signToken({ secret: key }, { sub, projects, roles, ttlSeconds, ...rest });
}

/**
 * Whether a server in memory is three servers on one log (`shared-log.ts`), as in the project `cluster`. Tests that look into
 * the server which a client uses are skipped then.
 */
export const isOnThree = 'runwireServers' in globalThis;

/** Position of the last stored event. The node of this log has it: another node may have committed it. */
export const headOf = ({ log }: Pick<RunServer, 'log'>): Promise<number> => acknowledgedHead(log, {});

async function openInMemory(options: RunServerOptions & InternalOptions) {
  if (!isOnThree) return openRunServer({ databaseUrl: 'memory:', ...options });
  const { openAsOne } = await import('./shared-log.ts');
  return openAsOne(options);
}

/** Starts a server without a port, for callers in this process. */
export const openServer = ({ databaseUrl = 'memory:', ...more }: RunServerOptions & InternalOptions = {}) => {
  const options = { authSecret: secret, port: 0, shutdownSpreadMs: 0, logger: consoleLogger, ...more };
  return databaseUrl === 'memory:' ? openInMemory(options) : openRunServer({ databaseUrl, ...options });
};

/** Starts a server on a free port. */
export async function startServer(options: RunServerOptions & InternalOptions = {}) {
  const server = await openServer(options);
  return { ...server, ...(await server.listen()) };
}

export const created = (runId: string, more: object = {}): RunEventDraft => ({
  type: 'run.created',
  projectId: 'demo',
  runId,
  name: `Run ${runId}`,
  ...more,
});
export const progress = (runId: string, value: number, more: object = {}): RunEventDraft => ({
  type: 'stage.progress',
  projectId: 'demo',
  runId,
  stageId: 's1',
  progress: value,
  ...more,
});

/** Collects items up to the first one for which `done` returns true, then ends the subscription. */
export async function take<T>(
  stream: AsyncIterable<readonly [string, T, ...unknown[]]>,
  done: (item: T, items: T[]) => boolean,
): Promise<{ items: T[]; cursors: string[] }> {
  const items: T[] = [];
  const cursors: string[] = [];
  for await (const [cursor, item] of stream) {
    items.push(item);
    cursors.push(cursor);
    if (done(item, items)) break;
  }
  return { items, cursors };
}

/** Creates a folder that is deleted at the end of its scope. */
export function temporaryFolder(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'runwire-test-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** A WebSocket class for a client, and the count of sockets that the client opened. */
export function countedWebSocket() {
  const counted = {
    opened: 0,
    WebSocket: class extends WebSocket {
      constructor(url: string | URL) {
        super(url);
        counted.opened++;
      }
    } as unknown as typeof globalThis.WebSocket,
  };
  return counted;
}

/** A logger that keeps its lines. */
export function keptLog(): { logger: Logger; lines: string[] } {
  const lines: string[] = [];
  return { lines, logger: pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) }) };
}

/** Wakes waiting conditions after every change; see {@link Wire.until}. */
class Changes {
  #waiting: (() => void)[] = [];
  happened(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

export type Item = RunEvent | StreamSignal;
export type WireMessage = {
  id?: number | string | null;
  method?: string;
  result?: { type: string; id?: string; data?: unknown };
  error?: {
    code: number;
    message: string;
    data: { code: string; runwireCode: string; path?: string; field?: string; issues?: unknown[] };
  };
};

export type WireOptions = {
  /** Token for `connectionParams`; null opens the socket without them. Default: a token with every right. */
  token?: string | null;
  /** Announces `connectionParams` in the URL, but sends none. */
  isSilent?: boolean;
  options?: ClientOptions;
};

/** A raw client of the WebSocket protocol: sends given messages, and keeps every received message. */
export class Wire implements AsyncDisposable {
  readonly ws: WebSocket;
  readonly messages: WireMessage[] = [];
  /** Received messages as text, in order. */
  readonly texts: string[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #changes = new Changes();
  #isClosed = false;
  #lastId = 0;

  constructor(ws: WebSocket) {
    this.ws = ws;
    ws.on('error', () => undefined);
    ws.on('message', (data: RawData) => {
      const text = data.toString();
      this.texts.push(text);
      if (text.startsWith('{')) this.messages.push(JSON.parse(text) as WireMessage);
      this.#changes.happened();
    });
    this.closed = new Promise((resolve) => {
      ws.once('close', (code, reason) => {
        this.#isClosed = true;
        this.#changes.happened();
        resolve({ code, reason: reason.toString() });
      });
    });
  }

  /** Opens a client. Resolves when the socket is open. */
  static async open(url: string, { token, isSilent, options }: WireOptions = {}): Promise<Wire> {
    const params = token !== null || isSilent;
    const said = token ?? (await tokenFor());
    const ws = new WebSocket(`${url.replace(/^http/, 'ws')}/ws${params ? '?connectionParams=1' : ''}`, options);
    const wire = new Wire(ws);
    await new Promise<void>((resolve, reject) => {
      ws.once('open', () => resolve());
      ws.once('error', reject);
    });
    if (params && !isSilent) wire.send({ method: 'connectionParams', data: { token: said } });
    return wire;
  }

  /** Sends strings and buffers unchanged, and any other value as JSON. */
  send(message: unknown): void {
    this.ws.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
  }

  /** Sends a request. Resolves with its response. */
  async call(method: 'query' | 'mutation', path: string, input?: unknown): Promise<WireMessage> {
    const id = ++this.#lastId;
    this.send({ id, method, params: { path, input } });
    await this.until(() => this.messages.some((message) => message.id === id));
    return this.messages.find((message) => message.id === id) as WireMessage;
  }

  subscribe<T = Item>(path: string, input?: unknown, lastEventId?: string): WireSubscription<T> {
    const id = ++this.#lastId;
    this.send({ id, method: 'subscription', params: { path, input, ...(lastEventId ? { lastEventId } : {}) } });
    return new WireSubscription<T>(this, id);
  }

  /** Resolves once a condition on the received messages holds. Rejects when the socket closes first. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.#isClosed) throw new Error('the socket closed before the expected message');
      await this.#changes.next();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.ws.terminate();
    await this.closed;
  }
}

export class WireSubscription<T = Item> {
  readonly id: number;
  readonly #wire: Wire;
  constructor(wire: Wire, id: number) {
    this.#wire = wire;
    this.id = id;
  }

  get messages(): WireMessage[] {
    return this.#wire.messages.filter((message) => message.id === this.id);
  }
  get tracked(): { id: string; data: T }[] {
    return this.messages.flatMap(({ result }) =>
      result?.type === 'data' ? [result.data as { id: string; data: T }] : [],
    );
  }
  get items(): T[] {
    return this.tracked.map(({ data }) => data);
  }
  /** Resolves with all items once one of them passes. */
  async until(passes: (item: T) => boolean): Promise<T[]> {
    await this.#wire.until(() => this.items.some(passes));
    return this.items;
  }
  /** Resolves with the error that ended the subscription. */
  async error(): Promise<NonNullable<WireMessage['error']>> {
    await this.#wire.until(() => this.messages.some(({ error }) => error));
    return this.messages.find(({ error }) => error)?.error as NonNullable<WireMessage['error']>;
  }
  stop(): void {
    this.#wire.send({ id: this.id, method: 'subscription.stop' });
  }
}

export const isLive = (item: object): boolean => isSignal(item) && item.type === 'stream.live';

/** A TCP proxy to a port, or to the port that a function returns. `cut` destroys its open connections. */
export async function startProxy(port: number | (() => number)) {
  const sockets = new Set<Socket>();
  let opened = 0;
  const proxy = createServer((near) => {
    opened++;
    const far = connect(typeof port === 'number' ? port : port(), '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (proxy.address() as { port: number }).port,
    get opened() {
      return opened;
    },
    cut,
    [Symbol.asyncDispose]: async () => {
      cut();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}
