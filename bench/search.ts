import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { DatabaseSync } from '@photostructure/sqlite';
import { AccessLogger } from '../server/audit/access-logger.ts';
import type { Principal } from '../server/auth/principal.ts';
import type { ReadyDraft } from '../server/event-log/contract/log.ts';
import type { SearchQuery } from '../server/event-log/contract/search.ts';
import { createRunServer } from '../server/index.ts';

/**
 * `npm run bench:search`: time and event loop delay of searches, the cost of the index for publishers and on disk, the
 * memory of an export, and the cost of an entry of the access record. `--events N`, default 100,000.
 */

const { values } = parseArgs({ options: { events: { type: 'string', default: '100000' } } });
const count = Number(values.events);
const vocabulary =
  'alpha beta gamma delta aligned reads sample chromosome variant calls retry cohort output merged sorted index lane flow cell barcode'.split(
    ' ',
  );
const word = (at: number) => vocabulary[at % vocabulary.length];

function draftOf(at: number): ReadyDraft & Record<string, unknown> {
  const needle = at === 5 || at === count - 7 ? ' needle' : '';
  return {
    type: 'stage.progress',
    projectId: `project-${at % 3}`,
    runId: `run-${Math.floor(at / 2_000)}`,
    stageId: `stage-${at % 40}`,
    timestamp: '2026-01-01T00:00:00.000Z',
    eventId: crypto.randomUUID(),
    progress: at % 100,
    message: `${word(at)} ${word(at * 7 + 3)} ${word(at >> 4)} item ${at} of sample-${at % 977}${needle}`,
  };
}

const cpuUs = (since: NodeJS.CpuUsage) => {
  const { user, system } = process.cpuUsage(since);
  return user + system;
};

const folder = mkdtempSync(join(tmpdir(), 'runwire-bench-search-'));
const path = join(folder, 'runwire.db');
const secret = 'a secret of the bench, 32 bytes long or more';
const principal: Principal = { sub: 'ada', projects: ['*'], roles: ['viewer', 'admin'] };
const authenticate = async () => principal;
const server = await createRunServer({ databaseUrl: `file:${path}`, authSecret: secret, authenticate, port: 0 });
const { log } = server;
const { url } = await server.listen();

const begun = process.cpuUsage();
for (let from = 0; from < count; from += 100) {
  await log.append({ actor: 'ci', drafts: Array.from({ length: 100 }, (_, index) => draftOf(from + index)) });
}
const last = { projects: 'all', text: `"item ${count - 1}"`, limit: 1 } as const;
while ((await log.search.find(last)).records.length === 0);
console.log(`append and index, CPU µs an event       ${(cpuUs(begun) / count).toFixed(1)}`);
const db = new DatabaseSync(path, { readOnly: true });
const bytes = (name: string) =>
  (db.prepare('SELECT sum(pgsize) AS bytes FROM dbstat WHERE name LIKE ?').get(name) as { bytes: number }).bytes;
console.log(
  `bytes an event: index ${(bytes('search%') / count).toFixed(0)}, table of events ${(bytes('events') / count).toFixed(0)}`,
);
db.close();

const delay = monitorEventLoopDelay({ resolution: 1 });
async function search(name: string, query: Partial<SearchQuery>): Promise<void> {
  const times: number[] = [];
  let found = 0;
  delay.reset();
  delay.enable();
  for (let round = 0; round < 15; round++) {
    const start = performance.now();
    found = (await log.search.find({ projects: 'all', limit: 50, ...query })).records.length;
    times.push(performance.now() - start);
  }
  delay.disable();
  times.sort((a, b) => a - b);
  const [median = 0, most = 0] = [times[7], times[14]];
  const held = `longest hold ${(delay.max / 1e6).toFixed(1)} ms`;
  console.log(
    `${name.padEnd(40)}${String(found).padStart(4)} found, median ${median.toFixed(2)} ms, max ${most.toFixed(2)} ms, ${held}`,
  );
}
await search('(warm)', { text: 'alpha' });
await search('common word', { text: '"alpha"' });
await search('common prefix: a', { text: 'a' });
await search('two words', { text: 'alpha cohort' });
await search('rare word', { text: '"needle"' });
await search('no match', { text: 'nowhere "to be"' });
await search('absent phrase of common words', { text: '"cohort alpha beta gamma"' });
await search('rare word in one project', { projects: ['project-1'], text: 'needle' });
await search('common word in one run', { runId: 'run-1', text: 'alpha' });
await search('2,000 characters', { text: 'alpha needle '.repeat(153) });
await search('no text', {});
await search('no text, absent type', { types: new Set(['run.failed']) });
await search('no text, absent actor, one run', { runId: 'run-1', actors: new Set(['nobody']) });
await search('common word, 500 per page', { text: '"alpha"', limit: 500 });

for (const format of ['ndjson', 'csv']) {
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 20);
  const start = performance.now();
  const call = request(`${url}/api/v1/export?format=${format}`, { headers: { authorization: 'Bearer x' } }).end();
  const [answer] = await once(call, 'response');
  let size = 0;
  for await (const chunk of answer) size += chunk.length;
  clearInterval(watch);
  const seconds = (performance.now() - start) / 1_000;
  const grown = ((most - before) / 2 ** 20).toFixed(0);
  console.log(
    `export as ${format}: ${(size / 2 ** 20).toFixed(0)} MiB in ${seconds.toFixed(1)} s, resident memory grew by ${grown} MiB`,
  );
}

const recorder = new AccessLogger({ log, health: { note: () => undefined }, isRefused: () => false });
const record = (at: number) =>
  recorder.record({
    principal,
    action: 'run.get',
    via: 'ws',
    outcome: 'ok',
    projectId: 'project-1',
    runId: `run-${at}`,
  });
const entries = 200_000;
for (const [name, different] of [
  ['the same', 1],
  ['900 different ones per batch', 900],
] as const) {
  const start = process.cpuUsage();
  for (let at = 0; at < entries; at++) {
    record(at % different);
    if (at % 10_000 === 9_999) await recorder.list({ projects: [], limit: 1 });
  }
  console.log(`access record, ${name}: CPU µs a call ${(cpuUs(start) / entries).toFixed(2)}, written with the batch`);
}
await recorder.close();
await server.close();
rmSync(folder, { recursive: true });
