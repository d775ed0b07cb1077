import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { signToken } from '../../server/auth/tokens.ts';
import type { Census } from './census.ts';
import { bundleServer, ServerProcess } from './server.ts';

/**
 * Opens and ends thousands of connections in every way, then compares the census of the server with that after the first
 * few hundred. No count may be higher. The heap is compared with its size half-way: before that it grows by about a
 * megabyte of compiled code. The limit {@link HEAP_BYTES} is reached when each of the last 5,000 connections leaks a
 * hundred bytes.
 */

const HEAP_BYTES = 512 * 1024;
const WAVE = 100;
const WARM_UP = 500;
/** More than the in-memory window of recent events, which would grow otherwise. */
const WARM_UP_EVENTS = 5_000;
/** Longer than the shared timers of readers. */
const TIMERS_MS = 500;
/** For sockets and timers that close late. */
const SETTLE_MS = 60_000;

const secret = 'a secret of the soak, 32 bytes long or more';

/** Resolves with the counts that did not return; expected are none. */
export async function soak(
  { script, connects, delivery }: { script: string; connects: number; delivery: 'direct' | 'iterator' },
  say: (text: string) => void,
): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-chaos-'));
  const server = new ServerProcess(script, {
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
    await clients.come(Math.floor(connects / 2));
    const halfway = await settled(server);
    await clients.come(Math.ceil(connects / 2));
    let after = await settled(server);
    const left = () => differences(before, after, halfway.heapBytes);
    for (let waitedMs = 0; left().length > 0 && waitedMs < SETTLE_MS; waitedMs += 1_000) {
      await delay(1_000);
      after = await settled(server);
    }
    say(`after ${connects} connects: ${JSON.stringify(after)}, heap half-way ${halfway.heapBytes}`);
    return [...left(), ...server.complaints];
  } finally {
    await server.stop('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function runSoak(connects: number, say: (text: string) => void): Promise<boolean> {
  using bundle = await bundleServer();
  const found: string[] = [];
  for (const delivery of ['direct', 'iterator'] as const) {
    say(`${connects} connects, delivery ${delivery}`);
    const problems = await soak({ script: bundle.path, connects, delivery }, say);
    say(problems.length === 0 ? 'no leak found' : problems.join('\n'));
    found.push(...problems);
  }
  return found.length === 0;
}

/** Takes a census once no socket is open. */
async function settled(server: ServerProcess): Promise<Census> {
  for (let waitedMs = 0; ; waitedMs += 100) {
    const sockets = await server.ask<'sockets'>({ sockets: true });
    if (sockets === 0 || waitedMs >= SETTLE_MS) {
      await delay(TIMERS_MS);
      return server.ask<'census'>({ census: true });
    }
    await delay(100);
  }
}

function differences(before: Census, after: Census, heapBytes: number): string[] {
  const [was, is] = [countsOf(before), countsOf(after)];
  const grown = [...is].filter(([name, count]) => count > (was.get(name) ?? 0));
  const heapGrownBytes = after.heapBytes - heapBytes;
  return [
    ...grown.map(([name, count]) => `${name}: ${was.get(name) ?? 0} before, ${count} after`),
    ...(heapGrownBytes > HEAP_BYTES ? [`the heap grew by ${heapGrownBytes} bytes`] : []),
  ];
}

const countsOf = ({ heapBytes: _, ...counts }: Census): Map<string, number> => flat(counts);
const flat = (counts: object, prefix = ''): Map<string, number> =>
  new Map(
    Object.entries(counts).flatMap(([name, value]) =>
      typeof value === 'number' ? [[`${prefix}${name}`, value] as const] : [...flat(value, `${name}.`)],
    ),
  );

/** Clients that connect, and disconnect in their own way each. */
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
      const response = await this.#request('POST', '/api/v1/events', {}, JSON.stringify(drafts));
      response.resume();
      if (response.statusCode !== 200) throw new Error(`the server answered ${response.statusCode}`);
      await once(response, 'end');
    }
  }

  /** Without keep-alive: an idle socket would be counted. */
  async #request(method: string, path: string, headers: object, body?: string): Promise<IncomingMessage> {
    const request = httpRequest({
      port: this.#port,
      host: '127.0.0.1',
      agent: false,
      method,
      path,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json', ...headers },
    });
    request.end(body);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return response;
  }

  #visit(index: number): Promise<void> {
    const path = ['onEvent', 'onRunEvent', 'onUserEvent', 'onRunSummary'][index % 4] as string;
    switch (index % 7) {
      case 0:
        return this.#halfway();
      case 1:
        return this.#sse(path, index);
      default:
        return this.#webSocket(path, index);
    }
  }

  /** Disconnects after half of the request. */
  async #halfway(): Promise<void> {
    const socket = connect(this.#port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write('GET /ws?connectionParams=1 HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: webs');
    await delay(1);
    socket.destroy();
  }

  async #sse(path: string, index: number): Promise<void> {
    const input = encodeURIComponent(JSON.stringify(inputOf(path, index)));
    const response = await this.#request('GET', `/trpc/${path}?input=${input}`, { accept: 'text/event-stream' });
    await once(response, 'data');
    response.destroy();
  }

  async #webSocket(path: string, index: number): Promise<void> {
    const way = index % 7;
    const ws = new WebSocket(`ws://127.0.0.1:${this.#port}/ws?connectionParams=1`);
    ws.on('error', () => undefined);
    const closed = new Promise((resolve) => ws.once('close', resolve));
    await new Promise((resolve) => ws.once('open', resolve));
    if (way === 2) {
      ws.terminate(); // No token has been sent.
      return;
    }
    const heard = new Promise((resolve) => ws.once('message', resolve));
    ws.send(JSON.stringify({ method: 'connectionParams', data: { token: this.#token } }));
    ws.send(JSON.stringify({ id: 1, method: 'subscription', params: { path, input: inputOf(path, index) } }));
    if (way === 3) {
      ws.terminate(); // The response finds a closed socket.
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

/** Mostly from now: a replay of thousands of events takes as long as hundreds of connections. */
const inputOf = (path: string, index: number) => ({
  from: index % 20 === 0 ? 'start' : 'now',
  ...(path === 'onRunEvent' ? { runId: 'r1' } : {}),
});
