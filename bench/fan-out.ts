import { setTimeout } from 'node:timers/promises';
import type { Contender } from './contender.ts';
import { type PeerName, peers } from './contender.ts';
import type { Figure } from './figures.ts';
import { type Bench, ratio } from './lines.ts';
import type { Shape } from './servers/face.ts';

/**
 * One run with one to many readers: events one at a time, in bursts, and paced. The clock begins with the call that
 * publishes; peers send at once and keep nothing.
 */

type Found = Map<PeerName, { rate: Figure; cpu: Figure }>;

const usual = ['runwire', 'old', 'ws', 'socketio', 'graphql-ws', 'trpc'] as const;

/** Measures a shape for open contenders: deliveries per second, and CPU time per delivery. */
export async function measureDelivery(
  bench: Bench,
  contenders: ReadonlyMap<PeerName, Contender>,
  shape: Shape,
): Promise<Found> {
  const samples = await bench.inTurn(contenders, (contender) => contender.measure(shape));
  const found: Found = new Map();
  for (const [name, of] of samples) {
    const rates = of.map(({ deliveries, seconds }) => deliveries / seconds);
    const cpus = of.map(({ deliveries, cpuMicros }) => cpuMicros / deliveries);
    const rate = bench.report.row(
      `${peers[name]}${shape.afterCommit ? ', after the commit' : ''}`,
      'deliveries/s',
      rates,
    );
    const cpu = bench.report.row('', 'µs of CPU each', cpus);
    found.set(name, { rate, cpu });
  }
  return found;
}

/** Measures Runwire and plain `ws` from the end of the commit, which both make. */
export function measureAfterCommit(
  bench: Bench,
  contenders: ReadonlyMap<PeerName, Contender>,
  shape: Shape,
): Promise<Found> {
  const both = new Map([...contenders].filter(([name]) => name === 'runwire' || name === 'ws'));
  return measureDelivery(bench, both, { ...shape, afterCommit: true });
}

export async function fanOut(bench: Bench): Promise<void> {
  // As many events as plain `ws` sends in about half a second. With few readers, many events are sent before the wait for
  // all of them, each in its own turn of the event loop: otherwise the wait would dominate.
  const against = await fanOutTo(bench, 1_000, bench.isQuick ? 5 : 50);
  bench.report.check('against plain ws', against('ws'), { atLeast: 1.2 });
  bench.report.check('against tRPC as documented', against('trpc'), { atLeast: 4 });
  bench.report.check('against Socket.IO', against('socketio'), { atLeast: 1.3 });
  await fanOutTo(bench, 1, bench.isQuick ? 2_000 : 10_000);
}

export async function largeFanOut(bench: Bench): Promise<void> {
  const against = await fanOutTo(bench, 5_000, bench.isQuick ? 1 : 10);
  bench.report.check('against plain ws', against('ws'), { atLeast: 1 });
}

async function fanOutTo(bench: Bench, readers: number, events: number): Promise<(name: PeerName) => number> {
  const contenders = await bench.contenders(usual, readers, 1);
  bench.report.line(
    `1 event to ${readers.toLocaleString('en-US')} reader${readers === 1 ? '' : 's'} of a run, one at a time`,
  );
  const shape = { events, runs: 1, readersPerRun: readers, ticksPerAck: Math.max(1, 1_000 / readers) };
  const found = await measureDelivery(bench, contenders, shape);
  await measureAfterCommit(bench, contenders, shape);
  return (name) => ratio(found.get('runwire')?.rate, found.get(name)?.rate);
}

export async function burst(bench: Bench): Promise<void> {
  const contenders = await bench.contenders(usual, 1_000, 1);
  bench.report.line('10 events in a tick to 1,000 readers of a run');
  const events = bench.isQuick ? 20 : 100;
  const found = await measureDelivery(bench, contenders, { events, perTick: 10, runs: 1, readersPerRun: 1_000 });
  bench.report.check('against plain ws', ratio(found.get('runwire')?.rate, found.get('ws')?.rate), { atLeast: 8 });
}

export async function paced(bench: Bench): Promise<void> {
  const contenders = await bench.contenders(['runwire', 'old', 'ws', 'socketio', 'trpc'], 1_000, 1);
  bench.report.line('From the call of `publish` to the reader: 10 events a second, 1,000 readers of a run');
  const samples = await bench.inTurn(contenders, async (contender, name) => {
    await contender.pace({ intervalMs: 100, hasCommits: name === 'runwire' });
    await setTimeout(bench.isQuick ? 400 : 2_000);
    return contender.paced();
  });
  const found = new Map<PeerName, { p50: Figure; p99: Figure }>();
  for (const [name, of] of samples) {
    const row = (label: string, unit: string, pick: (sample: (typeof of)[number]) => number) =>
      bench.report.row(label, unit, of.map(pick));
    const p50 = row(`${peers[name]}, p50`, 'ms', ({ ofCall }) => ofCall.p50);
    const p99 = row('  p99', 'ms', ({ ofCall }) => ofCall.p99);
    if (name === 'runwire') {
      row('  p50 after the commit', 'ms', ({ ofCommit }) => ofCommit?.p50 ?? Number.NaN);
      row('  p99 after the commit', 'ms', ({ ofCommit }) => ofCommit?.p99 ?? Number.NaN);
    }
    row('  CPU', '% of a core', ({ cpuShare }) => cpuShare * 100);
    found.set(name, { p50, p99 });
  }
  const [ours, plain] = [found.get('runwire'), found.get('ws')];
  bench.report.check('p50 against plain ws', ratio(ours?.p50, plain?.p50), { atMost: 1 });
  bench.report.check('p99 against plain ws', ratio(ours?.p99, plain?.p99), { atMost: 1 });
}
