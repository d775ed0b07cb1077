import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DatabaseSync } from '@photostructure/sqlite';
import { WebSocketServer } from 'ws';
import { signToken } from '../server/auth.ts';
import type { EventLog, ReadyDraft } from '../server/event-log/log.ts';
import { openSqliteLog } from '../server/event-log/sqlite.ts';
import { createRunServer } from '../server/run-server.ts';
import { foldEvent } from '../shared/events.ts';

/**
 * `npm run bench`: what durable publishing and delivery cost, each next to a peer in the same run, on the same machine.
 * Figures drift between machines by a third; only the ratios count. Nothing else may run meanwhile.
 */

const ROUNDS = 5;
const folder = mkdtempSync(join(tmpdir(), 'runwire-bench-'));
const { version, dependencies } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
  dependencies: Record<string, string>;
};

type Figure = { median: number; min: number; max: number };
function figure(samples: number[]): Figure {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (index: number) => sorted[index] as number;
  return { median: at(Math.floor(sorted.length / 2)), min: at(0), max: at(sorted.length - 1) };
}
const say = (text = '') => process.stdout.write(`${text}\n`);
const row = (name: string, unit: string, { median, min, max }: Figure, ratio = '') =>
  say(`  ${name.padEnd(44)} ${show(median).padStart(9)} ${unit}  (${show(min)}–${show(max)})${ratio && `  ${ratio}`}`);
const show = (value: number) => (value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3));
const times = (ratio: number) => `${ratio.toFixed(2)} ×`;

let drafted = 0;
const draft = (runId: string, type: string, fields: object): ReadyDraft => {
  const index = drafted++;
  return {
    type,
    projectId: 'bench',
    runId,
    timestamp: new Date(1_700_000_000_000 + index).toISOString(),
    eventId: `event-${String(index).padStart(10, '0')}`,
    ...fields,
  };
};
const progressOf = (runId: string, index: number) =>
  draft(runId, 'stage.progress', {
    stageId: `stage-${index % 10}`,
    progress: index % 100,
    message: `${'epoch 12 of 40: loss 0.0731, accuracy 0.981 '.repeat(3)}${index}`,
  });

/** Rounds of each contender in turn, so that a slow moment of the machine hits all of them. */
async function inTurn<K extends string>(contenders: Record<K, () => Promise<number> | number>) {
  const samples = Object.fromEntries(Object.keys(contenders).map((name) => [name, [] as number[]]));
  for (let round = -1; round < ROUNDS; round++) {
    for (const name of Object.keys(contenders) as K[]) {
      const sample = await contenders[name]();
      if (round >= 0) samples[name]?.push(sample); // The first is for warming up.
    }
  }
  return Object.fromEntries(Object.entries(samples).map(([name, of]) => [name, figure(of)])) as Record<K, Figure>;
}

const perSecond = async (count: number, work: () => unknown): Promise<number> => {
  const begun = performance.now();
  await work();
  return (count / (performance.now() - begun)) * 1000;
};

const openLog = (name: string): Promise<EventLog> =>
  openSqliteLog({ path: join(folder, name), fold: foldEvent as never });

/** The rows that the log wrote, into an empty copy of its events table, with its indexes and PRAGMAs. */
function bareInserts(source: string) {
  const from = new DatabaseSync(join(folder, source), { readOnly: true });
  const schema = from.prepare(`SELECT sql FROM sqlite_schema WHERE tbl_name = 'events' AND sql IS NOT NULL`).all();
  const rows = from.prepare('SELECT * FROM events ORDER BY seq').all() as Record<string, never>[];
  from.close();
  const db = new DatabaseSync(join(folder, 'bare.db'));
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  for (const { sql } of schema as { sql: string }[]) db.exec(sql);
  const columns = Object.keys(rows[0] ?? {});
  const insert = db.prepare(`INSERT INTO events (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`);
  let next = 0;
  const insertNext = () => {
    const values = columns.map((column) => (rows[next % rows.length] as Record<string, never>)[column]) as unknown[];
    next++;
    values[columns.indexOf('seq')] = next;
    values[columns.indexOf('event_id')] = `bare-${next}`;
    insert.run(...(values as never[]));
  };
  return {
    alone: (count: number) => {
      for (let index = 0; index < count; index++) insertNext();
    },
    batches: (count: number, size: number) => {
      for (let index = 0; index < count; index += size) {
        db.exec('BEGIN IMMEDIATE');
        for (let each = 0; each < size; each++) insertNext();
        db.exec('COMMIT');
      }
    },
    close: () => db.close(),
  };
}

async function publishing(): Promise<void> {
  say('\nDurable publishing (SQLite, WAL, synchronous=FULL; 400-byte events of one run)');
  const log = await openLog('publishing.db');
  const alone = async (count: number) => {
    for (let index = 0; index < count; index++) {
      await log.append({ actor: 'bench', drafts: [progressOf('run', index)] });
    }
  };
  const batches = async (count: number, size: number) => {
    for (let index = 0; index < count; index += size) {
      const drafts = Array.from({ length: size }, (_, each) => progressOf('run', index + each));
      await log.append({ actor: 'bench', drafts });
    }
  };
  const grouped = async (count: number, size: number) => {
    for (let index = 0; index < count; index += size) {
      await Promise.all(
        Array.from({ length: size }, (_, each) =>
          log.append({ actor: 'bench', drafts: [progressOf('run', index + each)] }),
        ),
      );
    }
  };
  await batches(1_000, 100);
  const bare = bareInserts('publishing.db');
  const found = await inTurn({
    alone: () => perSecond(1_000, () => alone(1_000)),
    bareAlone: () => perSecond(1_000, () => bare.alone(1_000)),
    batches: () => perSecond(20_000, () => batches(20_000, 100)),
    grouped: () => perSecond(20_000, () => grouped(20_000, 100)),
    bareBatches: () => perSecond(20_000, () => bare.batches(20_000, 100)),
  });
  row('one at a time', 'events/s', found.alone, `${times(found.alone.median / found.bareAlone.median)} bare`);
  row('  bare inserts, a transaction each', 'rows/s', found.bareAlone);
  row('batches of 100', 'events/s', found.batches, `${times(found.batches.median / found.bareBatches.median)} bare`);
  row(
    '100 publishers at once',
    'events/s',
    found.grouped,
    `${times(found.grouped.median / found.bareBatches.median)} bare`,
  );
  row('  bare inserts, 100 to a transaction', 'rows/s', found.bareBatches);
  bare.close();
  await log.close();
}

async function runSize(): Promise<void> {
  say('\nAppending to a run, by its size (batches of 10, each event of another stage)');
  const log = await openLog('run-size.db');
  const fill = async (runId: string, stages: number, events: number) => {
    await log.append({ actor: 'bench', drafts: [draft(runId, 'run.created', { name: runId })] });
    for (let index = 0; index < events; index += 500) {
      const drafts = Array.from({ length: Math.min(500, events - index) }, (_, each) => {
        const stageId = `stage-${(index + each) % stages}`;
        return index + each < stages
          ? draft(runId, 'stage.started', { stageId })
          : draft(runId, 'stage.progress', { stageId, progress: (index + each) % 100 });
      });
      await log.append({ actor: 'bench', drafts });
    }
  };
  await fill('small', 10, 10);
  await fill('large', 10_000, 100_000);
  let at = 0;
  const append = async (runId: string, stages: number) => {
    for (let batch = 0; batch < 200; batch++) {
      const drafts = Array.from({ length: 10 }, () =>
        draft(runId, 'stage.progress', { stageId: `stage-${(at++ * 7) % stages}`, progress: at % 100 }),
      );
      await log.append({ actor: 'bench', drafts });
    }
  };
  // Ends and starts move `currentStageId`, the one field that looks at other stages.
  const churn = async (runId: string, stages: number) => {
    for (let batch = 0; batch < 100; batch++) {
      const drafts = Array.from({ length: 10 }, () => `stage-${(at++ * 7) % stages}`).flatMap((stageId) => [
        draft(runId, 'stage.started', { stageId, attempt: at }),
        draft(runId, 'stage.completed', { stageId, attempt: at }),
      ]);
      await log.append({ actor: 'bench', drafts });
    }
  };
  const micros = async (count: number, work: () => Promise<void>) => 1e6 / (await perSecond(count, work));
  const found = await inTurn({
    small: () => micros(2_000, () => append('small', 10)),
    large: () => micros(2_000, () => append('large', 10_000)),
    smallChurn: () => micros(2_000, () => churn('small', 10)),
    largeChurn: () => micros(2_000, () => churn('large', 10_000)),
  });
  row('progress: 10 stages, 10 events', 'µs/event', found.small);
  row(
    'progress: 10,000 stages, 100,000 events',
    'µs/event',
    found.large,
    times(found.large.median / found.small.median),
  );
  row('start and end: 10 stages', 'µs/event', found.smallChurn);
  row(
    'start and end: 10,000 stages',
    'µs/event',
    found.largeChurn,
    times(found.largeChurn.median / found.smallChurn.median),
  );
  await log.close();
}

/** The load process on the second core, this one on the first, where the machine lets us choose. */
function pin(pid: number, core: number): void {
  try {
    execFileSync('taskset', ['-cp', String(core), String(pid)], { stdio: 'ignore' });
  } catch {
    say('  (no taskset: the processes are not bound to cores)');
  }
}

const answer = async (load: ChildProcess, command: object): Promise<void> => {
  load.send(command);
  await once(load, 'message');
};

async function delivering(clients: number, events: number): Promise<void> {
  say(`\nDelivering to ${clients.toLocaleString('en-US')} subscribers of one run, one event at a time`);
  const load = fork(fileURLToPath(new URL('./load.ts', import.meta.url)), { execArgv: ['--import', 'tsx'] });
  pin(process.pid, 0);
  pin(load.pid as number, 1);

  const secret = 'the secret of the bench, of 32 bytes and more';
  const server = await createRunServer({ databaseUrl: 'memory:', authSecret: secret, port: 0, heartbeatMs: 600_000 });
  const { port } = await server.listen();
  const token = await signToken({ secret }, { sub: 'bench', projects: ['*'], roles: ['viewer'], ttlSeconds: 3_600 });
  const peer = createServer();
  const wss = new WebSocketServer({ server: peer, perMessageDeflate: false });
  peer.listen(0, '127.0.0.1');
  await once(peer, 'listening');

  const publish = (index: number) => {
    const { eventId: _eventId, ...fields } = progressOf('run', index);
    return server.bus.publish([fields as never], { actor: 'bench' });
  };
  const runwire = async (): Promise<number> => {
    await answer(load, {
      kind: 'open',
      port,
      path: '/ws?connectionParams=1',
      clients,
      greetings: [
        JSON.stringify({ method: 'connectionParams', data: { token } }),
        JSON.stringify({
          id: 1,
          method: 'subscription',
          params: { path: 'onRunEvent', input: { runId: 'run', projectId: 'bench' } },
        }),
      ],
    });
    await answer(load, { kind: 'expect', frames: 2 * clients }); // `started` and `stream.live` of each.
    const rate = await perSecond(clients * events, async () => {
      for (let index = 0; index < events; index++) {
        const taken = answer(load, { kind: 'expect', frames: clients });
        await publish(index);
        await taken;
      }
    });
    await answer(load, { kind: 'close' });
    return rate;
  };
  const text = JSON.stringify({ id: 1, result: { type: 'data', data: progressOf('run', 1) } });
  const plain = async (): Promise<number> => {
    await answer(load, { kind: 'open', port: (peer.address() as AddressInfo).port, path: '/', clients, greetings: [] });
    const rate = await perSecond(clients * events, async () => {
      for (let index = 0; index < events; index++) {
        const taken = answer(load, { kind: 'expect', frames: clients });
        for (const client of wss.clients) client.send(text);
        await taken;
      }
    });
    await answer(load, { kind: 'close' });
    return rate;
  };
  const found = await inTurn({ runwire, plain });
  row(
    'runwire (log in memory)',
    'deliveries/s',
    found.runwire,
    `${times(found.runwire.median / found.plain.median)} ws`,
  );
  row('plain ws, one ready string to each', 'deliveries/s', found.plain);
  load.kill();
  wss.close();
  peer.close();
  await server.close();
}

try {
  const [cpu] = cpus();
  say(`runwire ${version}, Node ${process.versions.node}, ${process.platform} ${process.arch}`);
  say(`${cpus().length} × ${cpu?.model ?? 'unknown processor'}`);
  say(['@trpc/server', 'ws', '@photostructure/sqlite'].map((name) => `${name} ${dependencies[name]}`).join(', '));
  say(`Median of ${ROUNDS} rounds, contenders in turn (min–max).`);
  await publishing();
  await runSize();
  await delivering(1_000, 50);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
