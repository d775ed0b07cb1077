import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import * as ws from 'ws';
import { follow } from './client.js';
import { tryFormer } from './former.js';
import { open, publish } from './publisher.js';
import { events, startServer } from './server.js';

/**
 * Publishes to a server and follows the run through a proxy that is cut. Prints what arrived, and fails unless every
 * event arrived once.
 */

const CUTS = 3;
const EVENTS = 40;
const deadline = setTimeout(() => fail('it took longer than 300 s'), 300_000);

function fail(reason: string): never {
  console.error(reason);
  process.exit(1);
}

const until = async (holds: () => boolean) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
};

async function startProxy(target: number) {
  const sockets = new Set<Socket>();
  const proxy = createServer((downstream) => {
    const upstream = connect(target, '127.0.0.1');
    for (const socket of [downstream, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        downstream.destroy();
        upstream.destroy();
      });
    }
    downstream.pipe(upstream).pipe(downstream);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const close = () => {
    cut();
    proxy.close();
  };
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, cut, close };
}

const folder = mkdtempSync('data-'); // In the folder of the project, which is removed after a failure too.
const { runs, url, token } = await startServer(`file:${join(folder, 'runwire.db')}`);
const proxy = await startProxy(Number(new URL(url).port));
const publisher = open(url, token);
await runs.broadcaster.broadcastRunCreated({ projectId: 'trials', runId: 'run-1', name: 'Nightly cohort' });

// Node.js has a WebSocket of its own since version 22.
const WebSocket = globalThis.WebSocket ?? ws.WebSocket;
const { client, connection, seen, unsubscribe } = follow({ url: proxy.url, token, WebSocket, reconnectDelayMs: 20 });
let last = await publish(publisher, 1, EVENTS);
for (let cut = 0; cut < CUTS; cut++) {
  await until(() => seen.seqs.at(-1) === last);
  proxy.cut();
  last = await publish(publisher, seen.done.length + 1, EVENTS);
}
await until(() => seen.seqs.at(-1) === last);
const { run } = await client.run.get.query({ runId: 'run-1' });

const expected = Array.from({ length: last }, (_, index) => index + 1);
const { errors, gaps, seqs } = seen;
if (JSON.stringify(seqs) !== JSON.stringify(expected)) fail(`wrong events: ${seqs}`);
if (gaps.length > 0 || errors.length > 0) fail(`gaps ${gaps}, errors ${errors}`);
if (run.lastSeq !== last) fail(`run.get is at ${run.lastSeq}`);

// A type of the application's own, checked by its own zod.
const sample = { type: 'metric.sampled', projectId: 'trials', runId: 'run-1', name: 'loss', value: 0.5 };
if (!events['metric.sampled'].draft.safeParse(sample).success) fail('the own type is refused');
await runs.bus.publish([sample as never], { actor: 'ada' });

const statuses = await tryFormer();
if (statuses.join() !== '200,404') fail(`the former server answers ${statuses}`);

unsubscribe();
await connection.close();
await publisher.close();
proxy.close();
await runs.close();
rmSync(folder, { recursive: true });
clearTimeout(deadline);
console.log(JSON.stringify({ node: process.version, events: last, cuts: CUTS }));
