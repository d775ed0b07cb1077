import { setTimeout } from 'node:timers/promises';
import type { Contender } from './contender.ts';
import type { Bench } from './lines.ts';
import { RUNS } from './servers/event.ts';

/**
 * Everything at once: publishing, readers, clients that join a run from its start and leave, searches, views, lists and
 * exports. The figure is the longest turn of the server's event loop. The requests are made by this process, on the core of
 * the load.
 */

const READERS_PER_RUN = 5;
/** Clients of a join; each reads a run from its start. */
const JOINING = 50;
const PUBLISH = { intervalMs: 20, size: 10, runs: RUNS };
/** Requests at a time, and the pause after each. */
const REQUESTS = 4;
const PAUSE_MS = 20;

type Sample = { turnMs: number; p99: number; published: number; joined: number; requests: number };

export async function mixed(bench: Bench): Promise<void> {
  const seconds = bench.isQuick ? 2 : 5;
  const readers = RUNS * READERS_PER_RUN;
  bench.report.line(`Mixed load: 500 events/s, ${readers} readers, joins, searches, views, exports (log in a file)`);
  const contender = await bench.start('publishing', { databaseUrl: `file:${bench.pathOf('mixed')}` });
  await contender.open(readers, RUNS);
  const samples = await bench.inTurn(new Map([['runwire', contender]]), (of) => sampleOf(of, seconds * 1_000));
  const row = (name: string, unit: string, pick: (sample: Sample) => number) =>
    bench.report.row(name, unit, (samples.get('runwire') ?? []).map(pick));
  const turn = row('longest turn of the loop', 'ms', ({ turnMs }) => turnMs);
  row('p99 from the call of publish to a reader', 'ms', ({ p99 }) => p99);
  row('events', 'a second', ({ published }) => published / seconds);
  row('clients that join', 'a second', ({ joined }) => joined / seconds);
  row('searches, views, lists and exports', 'a second', ({ requests }) => requests / seconds);
  bench.report.check('longest turn of the loop', turn.max, { atMost: 20 }, 'ms');
  await contender.stop();
}

async function sampleOf(contender: Contender, ms: number): Promise<Sample> {
  const end = new AbortController();
  const { signal } = end;
  await contender.ask('longestTurn', undefined);
  await contender.pace(PUBLISH);
  const [joined, ...counts] = await Promise.all([
    join(contender, signal),
    ...Array.from({ length: REQUESTS }, (_, index) => request(contender, index, signal)),
    setTimeout(ms).then(() => end.abort()),
  ]);
  const requests = counts.reduce<number>((sum, count) => sum + (count ?? 0), 0);
  const turnMs = await contender.ask('longestTurn', undefined);
  const { ofCall, count } = await contender.paced();
  return { turnMs, p99: ofCall.p99, published: count, joined, requests };
}

/** Opens clients that read their runs from the start, and closes them, until the signal. Returns their number. */
async function join(contender: Contender, signal: AbortSignal): Promise<number> {
  const load = contender.anotherLoad();
  const { greetings, ...started } = contender.started;
  const messages = greetings.filter((greeting) => typeof greeting === 'string');
  const fromStart = messages.map((message) => message.replace('"from":"now"', '"from":"start"'));
  let joined = 0;
  while (!signal.aborted) {
    // The first response is `started`.
    await load.open({ ...started, greetings: [...fromStart, 1] }, JOINING, JOINING);
    joined += JOINING;
    await setTimeout(PAUSE_MS);
    await load.close();
  }
  load.end();
  return joined;
}

/** Sends requests in turn until the signal. Returns their number. */
async function request({ started }: Contender, first: number, signal: AbortSignal): Promise<number> {
  const headers = { authorization: `Bearer ${started.tokens?.[0]}` };
  const call = (name: string, input: object) => `/trpc/${name}?input=${encodeURIComponent(JSON.stringify(input))}`;
  const run = { projectId: 'bench', runId: 'run-7' };
  const paths = [
    call('event.search', { text: 'loss accuracy' }),
    call('run.get', run),
    call('run.list', {}),
    call('run.at', { ...run, runSeq: 50 }),
    '/api/v1/export?projectId=bench&format=ndjson&limit=2000',
  ];
  let count = 0;
  while (!signal.aborted) {
    const response = await fetch(`http://127.0.0.1:${started.port}${paths[(first + count) % paths.length]}`, {
      headers,
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${response.url}: ${text.slice(0, 300)}`);
    count++;
    await setTimeout(PAUSE_MS);
  }
  return count;
}
