import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { type PostgresServer, postgresPrograms, startPostgres } from '../tests/support/postgres.ts';
import type { Contender } from './contender.ts';
import { figureOf } from './figures.ts';
import type { Bench } from './lines.ts';
import { LOAD_CORE } from './load.ts';
import { pin } from './processes.ts';
import type { Cost } from './servers/cost.ts';
import type { Insert, Publish } from './servers/postgres.ts';

/**
 * Durable publishing on PostgreSQL, by one node and by three, next to bare inserts of as many rows a statement into a table
 * of the same shape (key and two indexes), in the same database. The nodes use NOTIFY.
 */

type Way = { nodes: number; size: number } & (
  | { insert: true }
  | { runs: 'own' | 'same'; spread: number; publishers?: number }
);
type Sample = { rate: number; node: number; postgres: number };

const ways: Record<string, Way> = {
  '1 node, batches of 100 of one run': { nodes: 1, size: 100, runs: 'own', spread: 1 },
  '1 node, batches of 100 of 100 runs': { nodes: 1, size: 100, runs: 'own', spread: 100 },
  '  bare inserts, 100 a statement': { nodes: 1, size: 100, insert: true },
  '3 nodes, batches of 100, runs of their own': { nodes: 3, size: 100, runs: 'own', spread: 1 },
  '3 nodes, batches of 100 of the same 10 runs': { nodes: 3, size: 100, runs: 'same', spread: 10 },
  '  3 connections, bare inserts, 100 a statement': { nodes: 3, size: 100, insert: true },
  '1 node, batches of 10': { nodes: 1, size: 10, runs: 'own', spread: 1 },
  '  bare inserts, 10 a statement': { nodes: 1, size: 10, insert: true },
  '1 node, one at a time': { nodes: 1, size: 1, runs: 'own', spread: 1 },
  '1 node, 100 publishers, one at a time each': { nodes: 1, size: 1, runs: 'own', spread: 1, publishers: 100 },
  '  bare inserts, one a statement': { nodes: 1, size: 1, insert: true },
};

export async function postgresPublishing(bench: Bench): Promise<void> {
  bench.report.line('Durable publishing (PostgreSQL, synchronous_commit=on)');
  if (postgresPrograms === undefined) return bench.report.note('PostgreSQL is not installed');
  const server = await startPostgres({ isDurable: true });
  try {
    pin(LOAD_CORE, postmasterOf(server));
    await publishing(bench, server);
  } finally {
    await server.remove();
  }
}

async function publishing(bench: Bench, server: PostgresServer): Promise<void> {
  const url = await server.createDatabase();
  const nodes: Contender[] = [];
  for (let number = 1; number <= 3; number++) nodes.push(await bench.start('postgres', { url, number }));
  const [first] = nodes as [Contender];
  const warm: Publish = { batches: 20, size: 100, runs: 'warm', spread: 1, publishers: 1 };
  await first.askAlso('prepare', warm);
  await first.askAlso('publish', warm);
  await createBare(url);
  for (const node of nodes) await node.askAlso('readRows', null);
  const samples = await bench.inTurn(new Map(Object.entries(ways)), (way) =>
    sampleOf(way, nodes, server, bench.isQuick),
  );
  for (const [name, of] of samples) {
    bench.report.row(
      name,
      'events/s',
      of.map(({ rate }) => rate),
    );
    bench.report.row(
      '',
      'µs of CPU each, node',
      of.map(({ node }) => node),
    );
    bench.report.row(
      '',
      'µs of CPU each, PostgreSQL',
      of.map(({ postgres }) => postgres),
    );
  }
  const against = (name: string, bare: string, bound: number) => {
    const [ours, theirs] = [name, bare].map(
      (each) => figureOf((samples.get(each) ?? []).map(({ rate }) => rate)).median,
    );
    bench.report.check(`${name}, against bare inserts`, (ours as number) / (theirs as number), { atLeast: bound });
  };
  const [one, spread, bare, own, same, bareOfThree] = Object.keys(ways) as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  against(one, bare, 0.4);
  against(spread, bare, 0.4);
  against(own, bareOfThree, 0.4);
  against(same, bareOfThree, 0.25);
  await Promise.all(nodes.map((node) => node.stop()));
}

async function createBare(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`
    CREATE TABLE bare (LIKE events, PRIMARY KEY (seq));
    CREATE INDEX ON bare (run_row, seq);
    CREATE INDEX ON bare (project_id, seq);`);
  await client.end();
}

async function sampleOf(
  way: Way,
  all: readonly Contender[],
  server: PostgresServer,
  isQuick: boolean,
): Promise<Sample> {
  const nodes = all.slice(0, way.nodes);
  const { size } = way;
  const publishers = 'insert' in way ? 1 : (way.publishers ?? 1);
  const events = (size * publishers >= 100 ? 6_000 : size === 10 ? 2_000 : 300) / (isQuick ? 4 : 1);
  const batches = Math.ceil(events / size / nodes.length);
  const asks = nodes.map((node, index) => {
    if ('insert' in way) return { node, kind: 'insert', argument: { batches, size } satisfies Insert };
    const runs = way.runs === 'own' ? `own-${index}` : 'same';
    return {
      node,
      kind: 'publish',
      argument: { batches, size, runs, spread: way.spread, publishers } satisfies Publish,
    };
  });
  for (const { node, kind, argument } of asks) if (kind === 'publish') await node.askAlso('prepare', argument);
  const cpuBefore = cpuMicrosOf(server);
  const begun = performance.now();
  const taken = await Promise.all(asks.map(({ node, kind, argument }) => node.askAlso<Cost>(kind, argument)));
  const seconds = (performance.now() - begun) / 1_000;
  const count = batches * size * nodes.length;
  return {
    rate: count / seconds,
    node: taken.reduce((sum, { cpuMicros }) => sum + cpuMicros, 0) / count,
    postgres: (cpuMicrosOf(server) - cpuBefore) / count,
  };
}

const postmasterOf = ({ folder }: PostgresServer) =>
  Number(readFileSync(join(folder, 'data/postmaster.pid'), 'utf8').split('\n')[0]);

/** CPU time of all processes of the server. */
function cpuMicrosOf(server: PostgresServer): number {
  const postmaster = postmasterOf(server);
  let ticks = 0;
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      if (Number(fields[1]) === postmaster) ticks += Number(fields[11]) + Number(fields[12]);
    } catch {} // It has ended.
  }
  return ticks * 10_000;
}
