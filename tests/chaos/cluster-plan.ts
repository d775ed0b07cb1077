import { type Batch, type PublisherPlan, type ReaderPlan, users } from './plan.ts';
import { Dice } from './random.ts';

/** The plan of a round with several nodes, from its seed alone. Faults follow each other, each after the recovery of the last. */

export const NODES = 3;

/** `node`: index of the node that is hit. A cut ends after `ms`; bytes of a `stall` arrive then, a `drop` loses them. */
export type ClusterFault =
  | { kind: 'kill -9' | 'SIGSTOP'; node: number; ms: number }
  | { kind: 'no Redis' | 'no PostgreSQL'; node: number; ms: number; how: 'stall' | 'drop' }
  | { kind: 'Redis killed'; ms: number }
  | { kind: 'PostgreSQL fast' | 'PostgreSQL immediate'; ms: number }
  /** SIGTERM, and the next node once this one is ready again. */
  | { kind: 'rolling restart'; node: number };

export type ClusterPublisher = Omit<PublisherPlan, 'batches'> & { runs: string[]; seed: number };
export type ClusterPlan = {
  seed: number;
  publishers: ClusterPublisher[];
  readers: ReaderPlan[];
  faults: ClusterFault[];
};

const PROJECTS = 20;
const RUNS = 100;
const READERS = 300;
const ROLLING = 20;
/** Each writes {@link BATCH} events {@link BATCHES_PER_SECOND} times a second: 500 in all. */
const PUBLISHERS = ['publisher', 'http', 'trpc', 'publisher', 'http'] as const;
const BATCH = 10;
const BATCHES_PER_SECOND = 10;
/** A run that every publisher writes to. */
const SHARED = 0;

const projectOf = (run: number) => `p${run % PROJECTS}`;
const runIds = Array.from({ length: RUNS }, (_, run) => `r${run}`);

/** A short one has a third of the readers and publishers, and few faults. */
export function planCluster(seed: number, isShort = false): ClusterPlan {
  const dice = new Dice(seed);
  const kinds = isShort ? PUBLISHERS.slice(0, 2) : PUBLISHERS;
  const publishers = kinds.map((kind, at) => ({
    kind,
    name: `publisher-${at}`,
    runs: runIds.filter((_, run) => run % kinds.length === at),
    seed: dice.seed(),
  }));
  return {
    seed,
    publishers,
    readers: dice.list(isShort ? READERS / 3 : READERS, (index) => planReader(dice, index)),
    faults: isShort ? planFew(dice) : planAll(dice),
  };
}

function planReader(dice: Dice, index: number): ReaderPlan {
  const run = index % RUNS;
  const isOfRun = index % 12 < 10;
  const kind = dice.pick(['client', 'client', 'client', 'stock', 'wire', 'sse'] as const);
  const scope: ReaderPlan['scope'] = isOfRun
    ? { kind: 'run', projectId: projectOf(run), runId: `r${run}` }
    : index % 12 === 10
      ? { kind: 'user' }
      : { kind: 'project', projectId: projectOf(run) };
  return {
    ...{ name: `reader-${index}`, kind, scope, start: dice.pick(['now', 'start']), conflate: false },
    ...{ sub: dice.pick(users), projects: ['*'], turns: [] },
  };
}

function planAll(dice: Dice): ClusterFault[] {
  const node = () => dice.between(0, NODES - 1);
  const how = () => dice.pick(['stall', 'drop'] as const);
  const ms = () => dice.between(500, 2_000);
  const faults: ClusterFault[] = [
    ...dice.list(NODES, (index): ClusterFault => ({ kind: 'kill -9', node: index, ms: ms() })),
    { kind: 'Redis killed', ms: ms() },
    { kind: 'PostgreSQL fast', ms: ms() },
    { kind: 'PostgreSQL immediate', ms: ms() },
    { kind: 'no Redis', node: node(), ms: 5_000, how: how() },
    { kind: 'no PostgreSQL', node: node(), ms: 3_000, how: how() },
    { kind: 'SIGSTOP', node: node(), ms: 15_000 },
  ];
  const order = faults.map((fault) => ({ fault, place: dice.seed() })).sort((a, b) => a.place - b.place);
  const rolling = dice.list(ROLLING, (index): ClusterFault => ({ kind: 'rolling restart', node: index % NODES }));
  return [...order.map(({ fault }) => fault), ...rolling];
}

const planFew = (dice: Dice): ClusterFault[] => [
  { kind: 'kill -9', node: dice.between(0, NODES - 1), ms: 500 },
  { kind: 'PostgreSQL immediate', ms: 500 },
  { kind: 'no PostgreSQL', node: dice.between(0, NODES - 1), ms: 3_000, how: 'stall' },
  { kind: 'Redis killed', ms: 500 },
  { kind: 'rolling restart', node: dice.between(0, NODES - 1) },
];

/** Batches at the pace of a publisher. The next one waits for the answer to the last, so an outage piles nothing up. */
export async function* batchesOf(plan: ClusterPublisher, signal: AbortSignal): AsyncGenerator<Batch> {
  const dice = new Dice(plan.seed);
  let made = 0;
  let due = performance.now();
  while (!signal.aborted) {
    due = Math.max(due + 1_000 / BATCHES_PER_SECOND, performance.now());
    await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
    const drafts = dice.list(BATCH, (index) => {
      const run =
        index === 0 && dice.chance(0.3) ? SHARED : Number((plan.runs[made % plan.runs.length] ?? '').slice(1));
      return {
        ...{ type: 'stage.progress' as const, projectId: projectOf(run), runId: `r${run}`, stageId: 's1' },
        ...{ eventId: `${plan.name}-${made++}`, message: sentNow() },
        ...(dice.chance(0.1) ? { audience: [dice.pick(users)] } : {}),
      };
    });
    yield { drafts, pauseMs: 0, isSentTwice: dice.chance(0.05) };
  }
}

/** The message of an event that is sent now, and the time from it. */
export const sentNow = (): string => String(performance.now());
export const sentAt = (item: object): number => Number((item as { message?: string }).message ?? Number.NaN);
