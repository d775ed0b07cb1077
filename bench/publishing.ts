import { join } from 'node:path';
import { figureOf } from './figures.ts';
import { type Bench, ratio } from './lines.ts';
import type { Insert, Publish } from './servers/publishing.ts';

/** Publishing through the bus of a whole server, with its log in a file and many readers connected to other runs. */
export async function publishing(bench: Bench): Promise<void> {
  const readers = 1_000;
  bench.report.line(
    `Durable publishing (SQLite file, synchronous=FULL; ${readers.toLocaleString('en-US')} readers on other runs)`,
  );
  const start = async (name: string, isGuarded: boolean) => {
    const [path, barePath] = [join(bench.folder, `${name}.db`), join(bench.folder, `${name}-bare.db`)];
    const started = await bench.start('publishing', { path, barePath, isGuarded });
    await started.open(readers, readers);
    return started;
  };
  const contender = await start('guarded', true);
  const unguarded = await start('unguarded', false);
  const publish =
    (argument: Publish, by = contender) =>
    () =>
      by.askAlso<number>('publish', argument);
  const insert = (argument: Insert) => () => contender.askAlso<number>('insert', argument);
  const [few, many] = bench.isQuick ? [200, 4_000] : [1_000, 20_000];
  const samples = await bench.inTurn(
    new Map([
      ['one at a time', publish({ count: few, size: 1, publishers: 1, runs: 1 })],
      ['  bare inserts, a transaction each', insert({ count: few, size: 1 })],
      ['batches of 100', publish({ count: many, size: 100, publishers: 1, runs: 1 })],
      ['  without the guard', publish({ count: many, size: 100, publishers: 1, runs: 1 }, unguarded)],
      ['100 publishers at once, one run', publish({ count: many, size: 1, publishers: 100, runs: 1 })],
      ['100 publishers at once, 100 runs', publish({ count: many, size: 1, publishers: 100, runs: 100 })],
      ['  bare inserts, 100 to a transaction', insert({ count: many, size: 100 })],
    ]),
    (rate) => rate(),
  );
  for (const [name, of] of samples) bench.report.row(name, 'events/s', of);
  const figure = (name: string) => figureOf(samples.get(name) ?? []);
  const [batches, alone] = [figure('batches of 100'), figure('  without the guard')];
  const bare = figure('  bare inserts, 100 to a transaction');
  bench.report.check('batches of 100 without the guard, against bare inserts', ratio(alone, bare), { atLeast: 0.4 });
  bench.report.check('batches of 100, at the least', batches.min, { atLeast: 10_000 }, 'events/s');
  bench.report.note(
    `${ratio(batches, bare).toFixed(3)} × bare inserts with the guard, which is ${ratio(batches, alone).toFixed(2)} × without`,
  );
  await contender.stop();
  await unguarded.stop();
}
