import type { RunView } from '../../../hooks/index.ts';
import { useServerNow } from '../../hooks/useNow.ts';
import { formatDuration } from '../../lib/format.ts';
import { waitOf } from './timeline/times.ts';

export type ClockPart = { name: string; ms: number; text: string; isGrowing: boolean };

/** The time of a run since it was created, in three parts that add up to the whole: queued, running, waiting for approval. */
export function RunClock({ run }: { run: RunView }) {
  const { parts } = useRunTimes(run);
  return parts.map(({ name, text, isGrowing }) => (
    <div key={name} className={isGrowing ? 'clock growing' : 'clock'}>
      <dt>{name}</dt>
      <dd>{text}</dd>
    </div>
  ));
}

export function useRunTimes(run: RunView): { parts: ClockPart[] } {
  const now = useServerNow(run.endedAt === undefined);
  return { parts: partsOf(run, now) };
}

const secondsOf = (ms: number) => Math.floor(Math.max(0, ms) / 1_000) * 1_000;
const textOf = (ms: number) => formatDuration(ms).replace('.0 s', ' s');

/** Returns the parts that are not empty. Whole seconds: a rest of less goes to the running time. */
export function partsOf(run: RunView, nowMs: number): ClockPart[] {
  const createdMs = Date.parse(run.createdAt);
  const hasEnded = run.endedAt !== undefined;
  const endMs = hasEnded ? Date.parse(run.endedAt as string) : nowMs;
  const startMs = Math.min(endMs, run.startedAt === undefined ? endMs : Date.parse(run.startedAt));
  const isQueued = run.startedAt === undefined;
  const wholeMs = endMs - createdMs;
  if (hasEnded && wholeMs < 1_000) return [part('Took', Math.max(0, wholeMs), false)];
  const queuedMs = secondsOf(startMs - createdMs);
  const waitedMs = secondsOf(waitedIn(run, startMs, endMs));
  const ranMs = secondsOf(wholeMs) - queuedMs - waitedMs;
  const isWaiting = run.counts.approvalsPending > 0 && !hasEnded;
  const parts = [
    part('Queued', queuedMs, isQueued && !hasEnded),
    part(hasEnded ? 'Took' : 'Running', isQueued ? 0 : Math.max(0, ranMs), !isQueued && !hasEnded && !isWaiting),
    part('Waiting for approval', waitedMs, isWaiting && !isQueued),
  ];
  return parts.filter(({ ms, isGrowing, name }) => ms >= 1_000 || isGrowing || (name === 'Took' && !isQueued));
}

const part = (name: string, ms: number, isGrowing: boolean): ClockPart => ({ name, ms, text: textOf(ms), isGrowing });

/** The time in which at least one approval was pending. */
function waitedIn(run: RunView, fromMs: number, toMs: number): number {
  let untilMs = fromMs;
  let waitedMs = 0;
  const waits = run.approvals.map(waitOf).sort((a, b) => a.fromMs - b.fromMs);
  for (const wait of waits) {
    const from = Math.max(untilMs, wait.fromMs);
    const to = Math.min(toMs, wait.toMs ?? toMs);
    if (to <= from) continue;
    waitedMs += to - from;
    untilMs = to;
  }
  return waitedMs;
}
