import { setTimeout } from 'node:timers/promises';
import { type PostgresServer, postgresPrograms, startPostgres } from '../tests/support/postgres.ts';
import { hasRedis, startRedis } from '../tests/support/redis.ts';
import type { Contender } from './contender.ts';
import type { Bench } from './lines.ts';
import type { NodeOptions, Send, Sent } from './servers/node.ts';

/**
 * Events that one server publishes, and that the clients of one, two and three others receive: the time from the call of
 * `publish` to the client's WebSocket, and the CPU time of each of the others for a delivery.
 */

const READERS = 100;
const RUNS = 20;
const PER_SECOND = 200;
/** After the last event; more than the interval at which nodes ask the store. */
const SETTLE_MS = 1_000;

export async function betweenNodes(bench: Bench): Promise<void> {
  bench.report.line(
    `${PER_SECOND} events/s, published on one server, to ${READERS} readers of ${RUNS} runs on each of the others`,
  );
  if (postgresPrograms === undefined || !hasRedis) {
    return bench.report.note('PostgreSQL or Redis is not installed: not measured');
  }
  const postgres = await startPostgres({ isDurable: true });
  const redis = await startRedis();
  try {
    await measure(bench, 'Redis', postgres, { redisUrl: redis.url });
    await measure(bench, 'NOTIFY', postgres, {});
    await measure(bench, 'polling alone', postgres, { isSilent: true });
  } finally {
    await Promise.all([postgres.remove(), redis.remove()]);
  }
}

async function measure(
  bench: Bench,
  name: string,
  postgres: PostgresServer,
  options: Omit<NodeOptions, 'databaseUrl'>,
): Promise<void> {
  const databaseUrl = await postgres.createDatabase();
  const start = () => bench.start('node', { databaseUrl, ...options } satisfies NodeOptions);
  const from = await start();
  const nodes: Contender[] = [];
  const counts = options.isSilent ? [1] : [1, 2, 3];
  for (const count of counts) {
    const node = await start();
    await node.open(READERS, RUNS);
    nodes.push(node);
    const samples: Sample[] = [];
    await sampleOf(from, nodes, PER_SECOND);
    for (let round = 0; round < bench.rounds; round++) {
      samples.push(await sampleOf(from, nodes, bench.isQuick ? PER_SECOND : 2 * PER_SECOND));
    }
    const row = (label: string, unit: string, key: keyof Sample) =>
      bench.report.row(
        label,
        unit,
        samples.map((sample) => sample[key]),
      );
    row(`${name}, ${count} server${count === 1 ? '' : 's'} with readers, p50`, 'ms', 'p50');
    row('  p99', 'ms', 'p99');
    row('  CPU of each', 'µs a delivery', 'cpuMicros');
  }
  await Promise.all([from, ...nodes].map((node) => node.stop()));
}

/** Means of the nodes. */
type Sample = { p50: number; p99: number; cpuMicros: number };

async function sampleOf(from: Contender, nodes: readonly Contender[], events: number): Promise<Sample> {
  const cpuOf = () => Promise.all(nodes.map((node) => node.ask('cpuMicros', undefined)));
  for (const { load } of nodes) {
    await load.every(0);
    await load.record();
  }
  const before = await cpuOf();
  const { begins } = await from.askAlso<Sent>('send', { events, perSecond: PER_SECOND, runs: RUNS } satisfies Send);
  await setTimeout(SETTLE_MS);
  const after = await cpuOf();
  const deliveries = (events * READERS) / RUNS;
  const sample = { p50: 0, p99: 0, cpuMicros: 0 };
  for (const [index, { load }] of nodes.entries()) {
    const { frames, p50, p99 } = await load.latencies(begins);
    if (frames !== deliveries) throw new Error(`${frames} frames have arrived instead of ${deliveries}`);
    sample.p50 += p50 / nodes.length;
    sample.p99 += p99 / nodes.length;
    sample.cpuMicros += ((after[index] as number) - (before[index] as number)) / deliveries / nodes.length;
  }
  return sample;
}
