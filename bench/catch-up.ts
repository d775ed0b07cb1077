import type { Contender } from './contender.ts';
import { type Bench, ratio } from './lines.ts';

/** One reader that starts at the first of many events, with nothing in memory. */

export async function catchUp(bench: Bench): Promise<void> {
  const events = bench.isQuick ? 20_000 : 100_000;
  bench.report.line(`Catch-up of one reader over ${events.toLocaleString('en-US')} events (SQLite file)`);
  const path = bench.pathOf('catch-up');
  const filling = await bench.start('runwire', { databaseUrl: `file:${path}` });
  await filling.measure({ events, perTick: 500, runs: 1, readersPerRun: 0 });
  await filling.stop();

  const subjects = new Map([
    ['runwire', await bench.start('runwire', { databaseUrl: `file:${path}`, from: 'start' })],
    ['rows', await bench.start('rows', { path })],
  ] as const);
  const measure = async (contender: Contender) => {
    const { load, started } = contender;
    await load.every(events);
    const acked = contender.ask('acked', undefined);
    const { endedNs: begunNs } = await load.open(started, 1, 1);
    const seconds = Number(BigInt(await acked) - begunNs) / 1e9;
    await load.close();
    return events / seconds;
  };
  const samples = await bench.inTurn<'runwire' | 'rows', Contender, number>(subjects, measure);
  const runwire = bench.report.row('Runwire', 'events/s', samples.get('runwire') ?? []);
  const rows = bench.report.row('rows read and written to a socket', 'events/s', samples.get('rows') ?? []);
  bench.report.check('against reading and writing the rows', ratio(runwire, rows), { atLeast: 0.5 });
  for (const contender of subjects.values()) await contender.stop();
}
