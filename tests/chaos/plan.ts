import type { PublisherDraft } from '../../client/publisher/index.ts';
import type { RunEventType } from '../../shared/events.ts';
import { Dice } from './random.ts';

/**
 * The plan of a round, from its seed alone. Steps are due at counts of acknowledged events, not at times, so that fast
 * and slow machines play the same round.
 */

export type Draft = PublisherDraft & { projectId: string; eventId: string };

export type PublisherPlan = {
  /** `publisher`: `runwire/publisher`. `http`: plain requests. `trpc`: the mutation. Each retries until it is answered. */
  kind: 'publisher' | 'http' | 'trpc';
  name: string;
  batches: Batch[];
};
export type Batch = { drafts: Draft[]; pauseMs: number; isSentTwice: boolean };

export type ReaderScope =
  | { kind: 'run'; runId: string; projectId?: string }
  | { kind: 'project'; projectId: string }
  | { kind: 'user' }
  | { kind: 'all' };

/** `foreign`: a cursor of another log. `ahead`: a cursor beyond the head. `old`: a cursor at the beginning. */
export type ReaderStart = 'now' | 'start' | 'foreign' | 'ahead' | 'old';

export type ReaderPlan = {
  name: string;
  /**
   * `client`: `runwire/client`. `slow`: the same over a socket that is paused at intervals. `stock`: the client of tRPC.
   * `wire`: raw messages. `pile`: raw messages, many equal subscriptions on one socket, paused at first. `sse`.
   */
  kind: 'client' | 'slow' | 'stock' | 'wire' | 'pile' | 'sse';
  scope: ReaderScope;
  start: ReaderStart;
  types?: RunEventType[];
  conflate: boolean;
  sub: string;
  projects: string[];
  /** Counts of acknowledged events at which it joins, then alternately leaves and resumes with its cursor. */
  turns: number[];
};

export type Fault =
  | { kind: 'cut' }
  | { kind: 'stall'; direction: 'up' | 'down' | 'both'; ms: number }
  | { kind: 'half-open'; ms: number }
  | { kind: 'one-sided'; side: 'client' | 'server'; ms: number }
  | { kind: 'fragment'; bytes: number; ms: number }
  | { kind: 'slow'; bytesPerSecond: number; ms: number };

export type Step = { at: number } & (
  | { do: 'fault'; fault: Fault; share: number }
  | { do: 'restart'; signal: 'SIGKILL' | 'SIGTERM'; downMs: number; isNewLog: boolean }
  | { do: 'clock'; stepMs: number }
  | { do: 'trim'; share: number }
  | { do: 'backup' }
  /** `command`: `runwire restore` into an empty folder. `copy`: the file is put back, beside newer checkpoints. */
  | { do: 'restore'; how: 'command' | 'copy' }
);

export type RoundPlan = {
  seed: number;
  delivery: 'direct' | 'iterator';
  publishers: PublisherPlan[];
  readers: ReaderPlan[];
  steps: Step[];
  total: number;
  end: 'SIGKILL' | 'SIGTERM';
};

export const users = ['ada', 'bo', 'cy'];
const HOUR_MS = 3_600_000;
export const YEAR_MS = 365 * 24 * HOUR_MS;

export function planRound(seed: number): RoundPlan {
  const dice = new Dice(seed);
  const projects = dice.list(dice.between(1, 3), (index) => `p${index}`);
  const runs = dice.list(dice.between(2, 5), (index) => ({ projectId: dice.pick(projects), runId: `r${index}` }));
  const isHeavy = dice.chance(0.15);
  const publishers = dice.list(dice.between(2, 4), (index) => planPublisher(dice, index, runs, isHeavy));
  const total = publishers.reduce((sum, { batches }) => sum + batches.reduce((n, b) => n + b.drafts.length, 0), 0);
  const steps = planSteps(dice, total);
  const readers = dice.list(dice.between(6, 12), (index) => planReader(dice, `reader-${index}`, runs, total));
  if (isHeavy) readers.push({ ...planReader(dice, 'pile', runs, total), kind: 'pile', scope: { kind: 'all' } });
  for (const step of steps) {
    if (step.do === 'trim') readers.push(planStray(dice, 'old', Math.min(total - 1, step.at + 20), runs, total));
  }
  if (dice.chance(0.15)) readers.push(planStray(dice, 'foreign', dice.between(0, total - 1), runs, total));
  if (dice.chance(0.15)) readers.push(planStray(dice, 'ahead', dice.between(0, total - 1), runs, total));
  return {
    seed,
    delivery: dice.chance(0.5) ? 'direct' : 'iterator',
    publishers,
    readers,
    steps,
    total,
    end: dice.chance(0.5) ? 'SIGKILL' : 'SIGTERM',
  };
}

type Run = { projectId: string; runId: string };

function planPublisher(dice: Dice, index: number, runs: Run[], isHeavy: boolean): PublisherPlan {
  const name = `publisher-${index}`;
  const kind = dice.pick(['publisher', 'publisher', 'http', 'trpc'] as const);
  let made = 0;
  // The first publisher creates a run; the events of others may precede that.
  const begun = new Set(index === 0 ? [] : runs);
  const nextDraft = (): Draft => {
    const run = dice.pick(runs);
    const eventId = `${name}-${made++}`;
    const audience = dice.chance(0.15) ? { audience: [dice.pick(users)] } : {};
    const of = { ...run, eventId, ...audience };
    if (!begun.has(run)) {
      begun.add(run);
      return {
        type: 'run.created',
        name: run.runId,
        ...of,
        ...(dice.chance(0.5) ? { createdBy: dice.pick(users) } : {}),
      };
    }
    const stageId = `s${dice.between(0, 2)}`;
    const message = 'x'.repeat(isHeavy ? 1_900 : dice.between(1, 40));
    switch (dice.between(0, 9)) {
      case 0:
        return { type: 'stage.started', stageId, ...of };
      case 1:
        return { type: 'stage.completed', stageId, ...of };
      case 2:
        return { type: 'artifact.created', artifactId: eventId, name: 'a', ...of };
      case 3:
        return { type: 'governance.required', approvalId: eventId, title: 't', approvers: [dice.pick(users)], ...of };
      default:
        return { type: 'stage.progress', stageId, progress: dice.between(0, 100), message, ...of };
    }
  };
  const batches = dice.list(dice.between(15, 40), () => ({
    drafts: dice.list(dice.chance(0.5) ? 1 : dice.between(2, 12), nextDraft),
    pauseMs: dice.chance(0.5) ? dice.between(1, 30) : 0,
    isSentTwice: dice.chance(0.1),
  }));
  return { kind, name, batches };
}

function planReader(dice: Dice, name: string, runs: Run[], total: number): ReaderPlan {
  const run = dice.pick(runs);
  const scope = dice.pick<ReaderScope>([
    { kind: 'run', ...run },
    { kind: 'run', runId: run.runId },
    { kind: 'project', projectId: run.projectId },
    { kind: 'user' },
    { kind: 'all' },
    { kind: 'all' },
  ]);
  const joins = dice.chance(0.4) ? 0 : dice.between(0, Math.floor(total * 0.8));
  const turns = dice.list(dice.chance(0.5) ? 0 : dice.between(1, 4), () => dice.between(joins, total - 1));
  return {
    name,
    kind: dice.pick(['client', 'client', 'slow', 'stock', 'wire', 'wire', 'sse']),
    scope,
    start: dice.pick(['now', 'start']),
    ...(dice.chance(0.25)
      ? {
          types: dice.pick<RunEventType[]>([
            ['stage.progress'],
            ['artifact.created'],
            ['stage.started', 'run.created'],
          ]),
        }
      : {}),
    conflate: dice.chance(0.2),
    sub: dice.pick(users),
    projects: dice.chance(0.8) || scope.kind === 'run' ? ['*'] : [run.projectId],
    turns: [joins, ...turns.sort((a, b) => a - b)],
  };
}

/** A reader of a scope for which a cursor cannot be constructed. */
function planStray(dice: Dice, start: ReaderStart, at: number, runs: Run[], total: number): ReaderPlan {
  const plan = planReader(dice, `stray-${start}-${at}`, runs, total);
  return { ...plan, kind: dice.pick(['client', 'wire', 'sse']), start, projects: ['*'], turns: [at] };
}

function planSteps(dice: Dice, total: number): Step[] {
  const at = () => dice.between(0, total - 1);
  const steps: Step[] = dice.list(dice.between(2, 7), () => ({
    at: at(),
    do: 'fault',
    fault: planFault(dice),
    share: dice.pick([0.3, 0.6, 1]),
  }));
  const restarts = dice.between(0, 3);
  for (let index = 0; index < restarts; index++) {
    steps.push({
      at: at(),
      do: 'restart',
      signal: dice.chance(0.7) ? 'SIGKILL' : 'SIGTERM',
      downMs: dice.chance(0.5) ? 0 : dice.between(1, 150),
      isNewLog: dice.chance(0.07),
    });
  }
  if (dice.chance(0.3)) {
    // Once at most, forward past the expiry of all tokens: a client with two refused tokens in a row stops (C6).
    const directions = [dice.pick([-1, 1]), ...(dice.chance(0.5) ? [-1] : [])];
    const places = directions.map(at).sort((a, b) => a - b);
    directions.forEach((direction, index) => {
      const unitMs = dice.chance(0.4) ? YEAR_MS : HOUR_MS;
      steps.push({ at: places[index] as number, do: 'clock', stepMs: direction * dice.between(1, 9) * unitMs });
    });
  }
  if (dice.chance(0.2))
    steps.push({ at: dice.between(Math.floor(total / 4), total - 1), do: 'trim', share: dice.between(1, 9) / 10 });
  if (dice.chance(0.25)) {
    const [backup, restore] = [at(), at()].sort((a, b) => a - b) as [number, number];
    // The checker knows one list of trims for a log, and a backup belongs to the log of its moment.
    const isBetween = (step: Step) => step.at >= backup && step.at <= restore;
    const isInTheWay = (step: Step) => step.do === 'trim' || (step.do === 'restart' && step.isNewLog);
    if (!steps.some((step) => isBetween(step) && isInTheWay(step))) {
      steps.push({ at: backup, do: 'backup' }, { at: restore, do: 'restore', how: dice.pick(['command', 'copy']) });
    }
  }
  return steps.sort((a, b) => a.at - b.at);
}

function planFault(dice: Dice): Fault {
  const ms = dice.between(30, 400);
  switch (dice.between(0, 6)) {
    case 0:
    case 1:
      return { kind: 'cut' };
    case 2:
      return { kind: 'stall', direction: dice.pick(['up', 'down', 'both']), ms };
    case 3:
      return { kind: 'half-open', ms };
    case 4:
      return { kind: 'one-sided', side: dice.pick(['client', 'server']), ms };
    case 5:
      return { kind: 'fragment', bytes: dice.pick([1, 3, 20, 100]), ms };
    default:
      return { kind: 'slow', bytesPerSecond: dice.pick([2_000, 20_000, 200_000]), ms };
  }
}
