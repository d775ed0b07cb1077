import type { Contender } from './contender.ts';
import type { Figure } from './figures.ts';
import { type Bench, ratio } from './lines.ts';
import type { Cost } from './servers/cost.ts';
import { RUNS, STAGES } from './servers/event.ts';
import type { Publish } from './servers/publishing.ts';
import type { Insert, Statements } from './servers/statements.ts';

/** Publishing through the bus of a whole server, beside the same statements with nothing between them. */

const ways = {
  new: 'Runwire',
  old: 'Runwire, old',
  all: 'the same statements alone',
  row: "the event's row alone",
} as const;
type Way = keyof typeof ways;
/** Events of a request and of a transaction. */
const sizes = [1, 10, 100] as const;

export async function publishing(bench: Bench): Promise<void> {
  await publishingOn(bench, undefined);
  if (bench.node !== undefined) await publishingOn(bench, bench.node);
}

async function publishingOn(bench: Bench, node: string | undefined): Promise<void> {
  const started: Contender[] = [];
  const start = async (name: string, options: object) => {
    const contender = await bench.start(name, options, node);
    started.push(contender);
    return contender;
  };
  const pathOf = (name: string) => bench.pathOf(`${node ? 'other-' : ''}${name}`);
  const ofFile = new Map<Way, Contender>();
  const ofMemory = new Map<Way, Contender>();
  for (const [place, contenders] of [['file', ofFile] as const, ['memory', ofMemory] as const]) {
    const url = (name: string) => (place === 'file' ? `file:${pathOf(name)}` : 'memory:');
    contenders.set('new', await start('publishing', { databaseUrl: url('new') }));
    if (bench.old) {
      contenders.set('old', await start('publishing', { databaseUrl: url('old'), product: bench.old }));
    }
    const to = place === 'file' ? pathOf('copy') : ':memory:';
    const statements = await start('statements', { from: pathOf('new'), to } satisfies Statements);
    contenders.set('all', statements).set('row', statements);
  }
  const [version, driver] = await (ofFile.get('all') as Contender).askAlso<string[]>('versions', null);
  bench.report.line(`Publishing, ${RUNS} runs and ${STAGES} stages (Node.js ${version}, ${driver})`);
  for (const size of sizes) await measure(bench, `log in memory, ${size} a turn`, ofMemory, { size });
  for (const size of sizes) await measure(bench, `log in a file, ${size} a turn`, ofFile, { size });
  const title = 'log in a file, 100 publishers at a time, an event each';
  await measure(bench, title, new Map([...ofFile].filter(([way]) => way === 'new' || way === 'old')), {
    size: 1,
    publishers: 100,
  });
  await Promise.all(started.map((contender) => contender.stop()));
}

async function measure(
  bench: Bench,
  title: string,
  contenders: ReadonlyMap<Way, Contender>,
  { size, publishers = 1 }: { size: number; publishers?: number },
): Promise<void> {
  const { report, isQuick } = bench;
  const isSlow = size === 1 && publishers === 1;
  const count = isSlow ? (isQuick ? 1_000 : 2_000) : isQuick ? 3_000 : 10_000;
  const samples = await bench.inTurn(contenders, (contender, way) =>
    way === 'new' || way === 'old'
      ? contender.askAlso<Cost>('publish', { count, size, publishers } satisfies Publish)
      : contender.askAlso<Cost>('insert', { count, size, kind: way } satisfies Insert),
  );
  const cpu = new Map<Way, Figure>();
  const rate = new Map<Way, Figure>();
  for (const [way, costs] of samples) {
    const label = way === 'new' ? `${ways[way]}, ${title}` : `  ${ways[way]}`;
    const micros = costs.map(({ cpuMicros }) => cpuMicros / count);
    cpu.set(way, report.row(label, 'µs of CPU an event', micros));
    const rates = costs.map(({ seconds }) => count / seconds);
    rate.set(way, report.row('', 'events/s', rates));
  }
  const against = (way: Way, atMost: number) => {
    if (cpu.has(way)) {
      report.check(`${title}: CPU against ${ways[way]}`, ratio(cpu.get('new'), cpu.get(way)), { atMost });
    }
  };
  if (publishers > 1) return;
  against('old', 0.55);
  against('all', 1.6);
  if (!title.includes('file') || size !== 100) return;
  report.check(`${title}: events/s against ${ways.row}`, ratio(rate.get('new'), rate.get('row')), { atLeast: 0.4 });
}
