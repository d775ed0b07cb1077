import { join } from 'node:path';
import { figureOf } from './figures.ts';
import { type Bench, ratio } from './lines.ts';
import type { Insert, Publish } from './servers/publishing.ts';

/** Through the bus of a whole server, with its log in a file, while many readers on other runs are connected. */
export async function publishing(bench: Bench): Promise<void> {
  const readers = 1_000;
  bench.report.line(
    `Durable publishing (SQLite file, synchronous=FULL; ${readers.toLocaleString('en-US')} readers on other runs)`,
  );
  const contender = await bench.start('publishing', {
    path: join(bench.folder, 'publishing.db'),
    barePath: join(bench.folder, 'bare.db'),
  });
  await contender.open(readers, readers);
  const publish = (argument: Publish) => () => contender.askAlso<number>('publish', argument);
  const insert = (argument: Insert) => () => contender.askAlso<number>('insert', argument);
  const [few, many] = bench.isQuick ? [200, 4_000] : [1_000, 20_000];
  const samples = await bench.inTurn(
    new Map([
      ['one at a time', publish({ count: few, size: 1, publishers: 1, runs: 1 })],
      ['  bare inserts, a transaction each', insert({ count: few, size: 1 })],
      ['batches of 100', publish({ count: many, size: 100, publishers: 1, runs: 1 })],
      ['100 publishers at once, one run', publish({ count: many, size: 1, publishers: 100, runs: 1 })],
      ['100 publishers at once, 100 runs', publish({ count: many, size: 1, publishers: 100, runs: 100 })],
      ['  bare inserts, 100 to a transaction', insert({ count: many, size: 100 })],
    ]),
    (rate) => rate(),
  );
  for (const [name, of] of samples) bench.report.row(name, 'events/s', of);
  const batches = figureOf(samples.get('batches of 100') ?? []);
  const bare = figureOf(samples.get('  bare inserts, 100 to a transaction') ?? []);
  bench.report.check('batches of 100, against bare inserts', ratio(batches, bare), { atLeast: 0.4 });
  bench.report.check('batches of 100, at the least', batches.min, { atLeast: 10_000 }, 'events/s');
  await contender.stop();
}
