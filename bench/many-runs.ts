import { execFileSync } from 'node:child_process';
import { measureAfterCommit, measureDelivery } from './fan-out.ts';
import { type Bench, ratio } from './lines.ts';

/** Many runs of five readers each, events at random: the cost of finding the readers, and its growth with the runs. */

const READERS_PER_RUN = 5;

export async function manyRuns(bench: Bench): Promise<void> {
  const runs = 1_000;
  const names = ['runwire', 'old', 'ws', 'socketio', 'trpc', 'trpc-iterator'] as const;
  const contenders = await bench.contenders(names, runs * READERS_PER_RUN, runs);
  bench.report.line(`1,000 runs of ${READERS_PER_RUN} readers, events at random`);
  const events = bench.isQuick ? 1_000 : 4_000;
  const shape = { events, runs, readersPerRun: READERS_PER_RUN, ticksPerAck: 200 };
  const found = await measureDelivery(bench, contenders, shape);
  const cost = (name: (typeof names)[number]) => found.get(name)?.cpu;
  const against = ratio(cost('runwire'), cost('trpc-iterator'));
  bench.report.check("CPU a delivery, against tRPC's iterator", against, { atMost: 0.6 });
  const after = await measureAfterCommit(bench, contenders, shape);
  const afterCommit = ratio(after.get('runwire')?.cpu, after.get('ws')?.cpu);
  bench.report.check('CPU a delivery after the commit, against plain ws', afterCommit, { atMost: 1.1 });
}

/** Whether a process may have 10,000 connections. Adds a note otherwise. */
export function hasManyFiles({ report }: Bench): boolean {
  const files = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim();
  const isEnough = Number(files) >= 10_200;
  if (!isEnough) report.note(`not measured: a process may have no more than ${files} open files here (ulimit -Hn)`);
  return isEnough;
}

export async function growth(bench: Bench): Promise<void> {
  bench.report.line(`From 1,000 to 10,000 connections (runs of ${READERS_PER_RUN} readers, events at random)`);
  if (!hasManyFiles(bench)) return;
  await bench.stop(); // Closes the many connections of earlier lines.
  const names = ['runwire', 'ws'] as const;
  const sizes = [1_000, 10_000] as const;
  const subjects = new Map(
    await Promise.all(
      sizes.flatMap((size) =>
        names.map(async (name) => {
          const contender = await bench.start(name);
          await contender.open(size, size / READERS_PER_RUN);
          return [`${name} ${size}`, { contender, runs: size / READERS_PER_RUN }] as const;
        }),
      ),
    ),
  );
  const events = bench.isQuick ? 400 : 4_000;
  const samples = await bench.inTurn(subjects, ({ contender, runs }) =>
    contender.measure({ events, runs, readersPerRun: READERS_PER_RUN, ticksPerAck: 200, afterCommit: true }),
  );
  for (const name of names) {
    const [few, many] = sizes.map((size) => {
      const cpus = (samples.get(`${name} ${size}`) ?? []).map(({ cpuMicros, deliveries }) => cpuMicros / deliveries);
      return bench.report.row(`${name}, ${size.toLocaleString('en-US')} connections`, 'µs of CPU each', cpus);
    });
    if (name === 'runwire') bench.report.check('growth of the CPU a delivery', ratio(many, few), { atMost: 1.3 });
  }
  for (const { contender } of subjects.values()) await contender.stop();
}
