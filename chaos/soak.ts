import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { signToken } from '../server/auth.ts';
import type { Census } from './census.ts';
import { bundleServer, ServerProcess } from './server.ts';

/**
 * Thousands of connects, ended in every way there is; then what the server holds is compared with what it held after the
 * first few hundred. Counts have to be the same. The heap may have grown by {@link HEAP_BYTES}: code that was compiled
 * meanwhile, and the like. What leaks a hundred bytes a connect grows by as much in 10,000 of them.
 */

const HEAP_BYTES = 1024 * 1024;
const WAVE = 100;
const WARM_UP = 500;
/** More than the server keeps in memory of what is recent, which would grow otherwise. */
const WARM_UP_EVENTS = 5_000;
/** For what ends by a timer: connections that are kept alive, most of all. */
const SETTLE_MS = 20_000;

const secret = 'a secret of the soak, 32 bytes long or more';

/** Resolves with what is not back, of which there should be nothing. */
export async function soak(connects: number, delivery: 'direct' | 'iterator', say: (text: string) => void) {
  using bundle = await bundleServer();
  const folder = mkdtempSync(join(tmpdir(), 'runwire-chaos-'));
  const server = new ServerProcess(bundle.path, {
    path: join(folder, 'log.db'),
    port: 0,
    secret,
    delivery,
    clockMs: 0,
    heartbeatMs: 30_000,
    quietMs: 1_000,
  });
  try {
    const { port } = await server.start();
    const clients = await Clients.of(port);
    await clients.publish(WARM_UP_EVENTS);
    await clients.come(Math.min(WARM_UP, connects));
    const before = await settled(server);
    say(`after the warm-up: ${JSON.stringify(before)}`);
    await clients.come(connects);
    let after = await settled(server);
    for (let waitedMs = 0; differences(before, after).length > 0 && waitedMs < SETTLE_MS; waitedMs += 1_000) {
      await delay(1_000);
      after = await settled(server);
    }
    say(`after ${connects} connects: ${JSON.stringify(after)}`);
    return [...differences(before, after), ...server.complaints];
  } finally {
    await server.stop('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function runSoak(connects: number, say: (text: string) => void): Promise<boolean> {
  const found: string[] = [];
  for (const delivery of ['direct', 'iterator'] as const) {
    say(`${connects} connects, delivery ${delivery}`);
    const problems = await soak(connects, delivery, say);
    say(problems.length === 0 ? 'all is back where it was' : problems.join('\n'));
    found.push(...problems);
  }
  return found.length === 0;
}

/** Once nobody is on any more. */
async function settled(server: ServerProcess): Promise<Census> {
  for (let waitedMs = 0; ; waitedMs += 100) {
    const census = await server.ask<'census'>({ census: true });
    if (!census.resources.TCPSocketWrap || waitedMs >= SETTLE_MS) return census;
    await delay(100);
  }
}

function differences(before: Census, after: Census): string[] {
  const { heapBytes: heapBefore, ...countsBefore } = before;
  const { heapBytes: heapAfter, ...countsAfter } = after;
  const [wasFlat, isFlat] = [flat(countsBefore), flat(countsAfter)];
  const names = [...new Set([...wasFlat.keys(), ...isFlat.keys()])];
  const changed = names.filter((name) => (wasFlat.get(name) ?? 0) !== (isFlat.get(name) ?? 0));
  const grown = heapAfter - heapBefore;
  return [
    ...changed.map((name) => `${name}: ${wasFlat.get(name) ?? 0} before, ${isFlat.get(name) ?? 0} after`),
    ...(grown > HEAP_BYTES ? [`the heap has grown by ${grown} bytes`] : []),
  ];
}

const flat = (counts: object, prefix = ''): Map<string, number> =>
  new Map(
    Object.entries(counts).flatMap(([name, value]) =>
      typeof value === 'number' ? [[`${prefix}${name}`, value] as const] : [...flat(value, `${name}.`)],
    ),
  );

/** Each connects, and leaves in its own way. */
class Clients {
  readonly #port: number;
  readonly #token: string;
  #came = 0;

  private constructor(port: number, token: string) {
    this.#port = port;
    this.#token = token;
  }

  static async of(port: number): Promise<Clients> {
    const roles = ['viewer', 'producer'] as const;
    return new Clients(port, await signToken({ secret }, { sub: 'ada', projects: ['*'], roles, ttlSeconds: 36_000 }));
  }

  async come(count: number): Promise<void> {
    for (let left = count; left > 0; left -= WAVE) {
      const wave = Array.from({ length: Math.min(WAVE, left) }, () => this.#visit(this.#came++));
      await Promise.all([...wave, this.publish(3)]);
    }
  }

  async publish(count: number): Promise<void> {
    for (let left = count; left > 0; left -= 500) {
      const drafts = Array.from({ length: Math.min(500, left) }, () => ({
        type: 'stage.progress',
        projectId: 'demo',
        runId: 'r1',
        stageId: 's1',
        progress: 1,
      }));
      const response = await fetch(`http://127.0.0.1:${this.#port}/api/v1/events`, {
        method: 'POST',
        headers: this.#headers({ 'content-type': 'application/json' }),
        body: JSON.stringify(drafts),
      });
      if (!response.ok) throw new Error(await response.text());
      await response.text();
    }
  }

  /** Neither is kept alive: what is, is a socket too. */
  #headers(more: Record<string, string>): Record<string, string> {
    return { authorization: `Bearer ${this.#token}`, connection: 'close', ...more };
  }

  #visit(index: number): Promise<void> {
    const path = ['onEvent', 'onRunEvent', 'onUserEvent', 'onRunSummary'][index % 4] as string;
    switch (index % 7) {
      case 0:
        return this.#halfway();
      case 1:
        return this.#sse(path);
      default:
        return this.#webSocket(path, index % 7);
    }
  }

  /** Goes when it has sent half of the request. */
  async #halfway(): Promise<void> {
    const socket = connect(this.#port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write('GET /ws?connectionParams=1 HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: webs');
    await delay(1);
    socket.destroy();
  }

  async #sse(path: string): Promise<void> {
    const address = new URL(`http://127.0.0.1:${this.#port}/trpc/${path}`);
    address.searchParams.set('input', JSON.stringify(inputOf(path)));
    const controller = new AbortController();
    const response = await fetch(address, {
      headers: this.#headers({ accept: 'text/event-stream' }),
      signal: controller.signal,
    });
    await response.body?.getReader().read();
    controller.abort();
  }

  async #webSocket(path: string, way: number): Promise<void> {
    const ws = new WebSocket(`ws://127.0.0.1:${this.#port}/ws?connectionParams=1`);
    ws.on('error', () => undefined);
    const closed = new Promise((resolve) => ws.once('close', resolve));
    await new Promise((resolve) => ws.once('open', resolve));
    if (way === 2) {
      ws.terminate(); // It has not said who it is.
      return;
    }
    const heard = new Promise((resolve) => ws.once('message', resolve));
    ws.send(JSON.stringify({ method: 'connectionParams', data: { token: this.#token } }));
    ws.send(JSON.stringify({ id: 1, method: 'subscription', params: { path, input: inputOf(path) } }));
    if (way === 3) {
      ws.terminate(); // The answer finds nobody.
      return;
    }
    await heard;
    if (way === 4) ws.terminate();
    else {
      if (way === 5) ws.send(JSON.stringify({ id: 1, method: 'subscription.stop' }));
      ws.close();
    }
    await closed;
  }
}

const inputOf = (path: string) => ({ from: 'start', ...(path === 'onRunEvent' ? { runId: 'r1' } : {}) });
