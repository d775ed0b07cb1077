import { parseArgs } from 'node:util';
import { problemKinds } from './checker.ts';
import { type Recovery, runCluster } from './cluster.ts';
import { crashOutbox } from './outbox.ts';
import { seedOf } from './random.ts';
import { type RoundResult, runRound } from './round.ts';
import { type Sabotage, sabotages } from './sabotage.ts';
import { bundleServer } from './server.ts';
import { runSoak } from './soak.ts';
import { Tally } from './tally.ts';

/**
 * Runs rounds of publishing and reading under injected faults, and checks every reader against the log:
 *
 *     npm run chaos -- --rounds 500
 *     npm run chaos -- --seed 12345 --rounds 1       # replays a round
 *     npm run chaos -- --sabotage skip --rounds 10   # breaks the server on purpose; must report problems
 *     npm run chaos -- --soak
 *     npm run chaos -- --outbox 500                  # crashes between COMMIT and delivery, on PostgreSQL
 *     npm run chaos -- --cluster --minutes 10        # three nodes on PostgreSQL and Redis, behind HAProxy
 *
 * A seed determines the plan of a round: publishers, readers, and which fault follows after how many events. The bytes
 * that a fault hits depend on timing, so a failure may need several replays.
 */

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '50' },
    seed: { type: 'string' },
    parallel: { type: 'string', default: '4' },
    sabotage: { type: 'string' },
    soak: { type: 'boolean', default: false },
    outbox: { type: 'string' },
    cluster: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '1' },
    connects: { type: 'string', default: '10000' },
  },
});

const say = (text: string) => process.stdout.write(`${text}\n`);
const numberOf = (name: 'rounds' | 'parallel' | 'connects' | 'seed' | 'outbox' | 'minutes', fallback = 0): number => {
  const value = Number(values[name] ?? fallback);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} must be a non-negative integer`);
  return value;
};

const sabotageOf = (): Sabotage | undefined => {
  const sabotage = sabotages.find((kind) => kind === values.sabotage);
  if (values.sabotage !== undefined && !sabotage) throw new Error(`--sabotage is one of ${sabotages.join(', ')}`);
  return sabotage;
};

async function runRounds(): Promise<boolean> {
  const rounds = numberOf('rounds');
  const first = numberOf('seed', Math.floor(Math.random() * 2 ** 31));
  const sabotage = sabotageOf();
  say(`seed ${first}, ${rounds} rounds${sabotage ? `, sabotage ${sabotage}` : ''}`);
  using bundle = await bundleServer();
  const tally = new Tally();
  let next = 0;
  const work = async () => {
    while (next < rounds) {
      const seed = seedOf(first, next++);
      const result = await runRound({ script: bundle.path, seed, sabotage });
      tally.add(result);
      if (result.problems.length > 0) describe(result, sabotage);
      if (tally.rounds % 25 === 0) say(tally.line);
    }
  };
  await Promise.all(Array.from({ length: numberOf('parallel') }, work));
  say(tally.toString());
  return problemKinds.every((kind) => tally.problems[kind] === 0);
}

function describe({ plan, problems, transcripts }: RoundResult, sabotage: Sabotage | undefined): void {
  const again = `npm run chaos -- --seed ${plan.seed} --rounds 1${sabotage ? ` --sabotage ${sabotage}` : ''}`;
  say(`\nseed ${plan.seed} (${plan.delivery}): ${problems.length} problems; ${again}`);
  for (const { kind, source, detail } of problems.slice(0, 10)) say(`  ${kind}: ${source}: ${detail}`);
  for (const transcript of sabotage ? [] : transcripts.slice(0, 3)) say(`  ${transcript}`);
}

async function runOutbox(): Promise<boolean> {
  const seed = numberOf('seed', Math.floor(Math.random() * 2 ** 31));
  say(`seed ${seed}`);
  const { problems, ...result } = await crashOutbox({ crashes: numberOf('outbox'), seed, say });
  say(JSON.stringify(result, undefined, 2));
  for (const problem of problems.slice(0, 20)) say(problem);
  say(`${problems.length} problems`);
  return problems.length === 0;
}

/** Rounds until the time is over; the last one is finished. */
async function runClusters(): Promise<boolean> {
  const first = numberOf('seed', Math.floor(Math.random() * 2 ** 31));
  const sabotage = sabotageOf();
  const until = performance.now() + 60_000 * numberOf('minutes');
  using bundle = await bundleServer();
  const recoveries: Recovery[] = [];
  const sums = { rounds: 0, events: 0, readers: 0, items: 0, connections: 0, problems: 0 };
  do {
    const seed = seedOf(first, sums.rounds++);
    say(`round of seed ${seed}`);
    const result = await runCluster({ script: bundle.path, seed, sabotage, say });
    for (const { kind, source, detail } of result.problems.slice(0, 20)) say(`  ${kind}: ${source}: ${detail}`);
    for (const [message, count] of result.lines) say(`  ${count} times in the logs: ${message}`);
    for (const name of ['events', 'items', 'connections'] as const) sums[name] += result[name];
    sums.readers += result.plan.readers.length;
    sums.problems += result.problems.length;
    recoveries.push(...result.recoveries);
  } while (performance.now() < until);
  for (const kind of new Set(recoveries.map((each) => each.kind))) {
    const of = recoveries.filter((each) => each.kind === kind);
    const spread = (name: 'readersMs' | 'publishMs' | 'wholeMs' | 'connects' | 'connectsPerSecond') => {
      const sorted = of.map((each) => Math.round(each[name])).sort((a, b) => a - b);
      return `${sorted[Math.floor(sorted.length / 2)]}, at most ${sorted.at(-1)}`;
    };
    say(`${kind}, ${of.length} times; medians:`);
    say(`  readers ${spread('readersMs')} ms; publishing ${spread('publishMs')} ms; whole ${spread('wholeMs')} ms`);
    say(`  ${spread('connects')} connects; ${spread('connectsPerSecond')} in a second`);
  }
  say(JSON.stringify(sums));
  return sums.problems === 0;
}

const run = () => {
  if (values.cluster) return runClusters();
  if (values.outbox !== undefined) return runOutbox();
  return values.soak ? runSoak(numberOf('connects'), say) : runRounds();
};
process.exitCode = (await run()) ? 0 : 1;
