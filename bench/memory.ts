import { type PeerName, peers } from './contender.ts';
import type { Figure } from './figures.ts';
import type { Bench } from './lines.ts';

/** Memory per reader: for an idle one, and for one that has stopped reading. */

const KIB = 1024;
const MB = 1e6;
/** Bytes vary less than times. */
const peerNames = ['runwire', 'ws', 'socketio', 'graphql-ws', 'trpc'] as const;
const samplesOf = ({ isQuick }: Bench) => (isQuick ? 1 : 3);

export async function idle(bench: Bench): Promise<void> {
  const connections = bench.isQuick ? 500 : 5_000;
  bench.report.line(`An idle connection with one subscription (${connections.toLocaleString('en-US')}, 5 to a run)`);
  const heap = new Map<PeerName, number[]>(peerNames.map((name): [PeerName, number[]] => [name, []]));
  const resident = new Map<PeerName, number[]>(peerNames.map((name): [PeerName, number[]] => [name, []]));
  // Memory does not depend on the load of the machine: all contenders run at once, each in a new process.
  for (let round = 0; round < samplesOf(bench); round++) {
    await Promise.all(
      peerNames.map(async (name) => {
        const contender = await bench.start(name);
        await contender.open(200, 40);
        await contender.close();
        const before = await contender.memory();
        await contender.open(connections, connections / 5);
        const after = await contender.memory();
        heap.get(name)?.push((after.heapUsed - before.heapUsed) / connections / KIB);
        resident.get(name)?.push((after.rss - before.rss) / connections / KIB);
        await contender.stop();
      }),
    );
  }
  const found = new Map<PeerName, Figure>();
  for (const name of peerNames) {
    found.set(name, bench.report.row(peers[name], 'KiB of heap', heap.get(name) ?? []));
    bench.report.row('', 'KiB resident', resident.get(name) ?? []);
  }
  const above = (found.get('runwire')?.median ?? Number.NaN) - (found.get('ws')?.median ?? Number.NaN);
  bench.report.check('heap above plain ws', above, { atMost: 10 }, 'KiB');
}

/** Ten readers of a run; after a while one stops reading, and the other nine continue. */
export async function stalled(bench: Bench): Promise<void> {
  const readers = 10;
  const [before, during] = bench.isQuick ? [5_000, 40_000] : [20_000, 500_000];
  const total = before + during;
  bench.report.line(`A reader that stops reading while ${during.toLocaleString('en-US')} events go to 9 others`);
  for (const name of ['runwire', 'ws'] as const) {
    const grown: number[] = [];
    const resident: number[] = [];
    for (let round = 0; round < samplesOf(bench); round++) {
      const contender = await bench.start(name);
      await contender.open(readers, 1);
      const shape = { perTick: 500, runs: 1 };
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
