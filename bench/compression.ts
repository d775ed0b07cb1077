import type { Bench } from './lines.ts';

/** The cost of compression, beside the uncompressed iterator and direct delivery. */

const KIB = 1024;
const kinds = {
  'direct, as configured by default': {},
  'iterator, not compressed': { delivery: 'iterator' },
  'compressed (permessage-deflate)': { compression: true },
} as const;

export async function compression(bench: Bench): Promise<void> {
  const readers = 200;
  bench.report.line(`Compression: 1 event to ${readers} readers of a run, one at a time`);
  const contenders = new Map<string, Awaited<ReturnType<Bench['start']>>>();
  const held = new Map<string, { heap: number; resident: number }>();
  const shape = { events: bench.isQuick ? 20 : 200, runs: 1, readersPerRun: readers, afterCommit: true };
  for (const [name, options] of Object.entries(kinds)) {
    const contender = await bench.start('runwire', options);
    await contender.open(20, 1);
    await contender.measure({ ...shape, readersPerRun: 20 });
    await contender.close();
    const before = await contender.memory();
    await contender.open(readers, 1);
    await contender.measure({ ...shape, events: 20 });
    const after = await contender.memory();
    const heap = after.heapUsed + after.external - before.heapUsed - before.external;
    held.set(name, { heap: heap / readers / KIB, resident: (after.rss - before.rss) / readers / KIB });
    contenders.set(name, contender);
  }
  const samples = await bench.inTurn(contenders, (contender) => contender.measure(shape));
  for (const [name, of] of samples) {
    const rates = of.map(({ deliveries, seconds }) => deliveries / seconds);
    const cpus = of.map(({ deliveries, cpuMicros }) => cpuMicros / deliveries);
    bench.report.row(name, 'deliveries/s', rates);
    bench.report.row('', 'µs of CPU each', cpus);
    bench.report.row('', 'KiB of heap and external a reader', [held.get(name)?.heap ?? Number.NaN]);
    bench.report.row('', 'KiB resident a reader', [held.get(name)?.resident ?? Number.NaN]);
  }
  for (const contender of contenders.values()) await contender.stop();
}
