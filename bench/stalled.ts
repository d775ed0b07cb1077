import { peers } from './contender.ts';
import type { Bench } from './lines.ts';

/** Memory for a reader that has stopped reading. */

const MB = 1e6;
/** Bytes vary less than times. */
const samplesOf = ({ isQuick }: Bench) => (isQuick ? 1 : 2);

/** Ten readers of a run; after a while one stops reading, and the other nine continue. */
export async function stalled(bench: Bench): Promise<void> {
  const readers = 10;
  const [before, during] = bench.isQuick ? [5_000, 40_000] : [20_000, 200_000];
  const total = before + during;
  bench.report.line(`A reader that stops reading while ${during.toLocaleString('en-US')} events go to 9 others`);
  for (const name of ['runwire', 'ws'] as const) {
    const grown: number[] = [];
    const resident: number[] = [];
    for (let round = 0; round < samplesOf(bench); round++) {
      const contender = await bench.start(name);
      await contender.open(readers, 1);
      const shape = { perTick: 500, runs: 1, afterCommit: true };
      // The memory that all readers share is full when the one stops.
      await contender.measure({ ...shape, events: before, readersPerRun: readers });
      const start = await contender.memory();
      await contender.load.pause(0);
      await contender.measure({ ...shape, events: during, readersPerRun: readers - 1 });
      const end = await contender.memory();
      grown.push((end.heapUsed + end.external - start.heapUsed - start.external) / MB);
      resident.push((end.rss - start.rss) / MB);

      await contender.load.every(0);
      await contender.load.resume(0);
      let reader = await contender.load.reader(0);
      while (reader.frames < total) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        const { frames } = reader;
        reader = await contender.load.reader(0);
        if (reader.frames === frames && reader.last === total) break;
      }
      if (reader.frames !== total || reader.first !== 1 || reader.last !== total) {
        throw new Error(`${name}: the reader received ${reader.frames} of ${total} events`);
      }
      await contender.close(); // Throws if an event arrived out of order.
      await contender.stop();
    }
    const figure = bench.report.row(peers[name], 'MB of heap and external', grown);
    bench.report.row('', 'MB resident (log in memory included)', resident);
    if (name === 'runwire') {
      bench.report.check('growth of heap and external', figure.median, { atMost: 5 }, 'MB');
      bench.report.note('the reader then had all events, in order (or this would have failed)');
    }
  }
}
