import type { Sample } from './usePolls.ts';

/** The limits of the tiles: those of the alert rules in docs/guide/operations.md, over the samples that the page has. */

export const limits = {
  publishP99Ms: { above: 50, minutes: 2 },
  commitP99Ms: { above: 500, minutes: 5 },
  walMiB: { above: 256, minutes: 5 },
  failures: { above: 10, minutes: 5 },
} as const;

const MINUTE_MS = 60_000;
/** Values are averaged over this time: one slow second in a good minute is no problem. */
const STEP_MS = 10_000;

/** True if a value was above a limit all along: in each step of the last minutes that has a value. */
function isAbove(
  samples: readonly Sample[],
  { above, minutes }: { above: number; minutes: number },
  of: (sample: Sample) => number | null,
): boolean {
  const endMs = samples.at(-1)?.at ?? 0;
  const beginMs = endMs - minutes * MINUTE_MS;
  // Without samples of the whole time, nothing can be said about it.
  if ((samples[0]?.at ?? endMs) > beginMs + STEP_MS) return false;
  const steps = new Map<number, number[]>();
  for (const sample of samples) {
    const value = sample.at > beginMs ? of(sample) : null;
    if (value === null) continue;
    const step = Math.floor((endMs - sample.at) / STEP_MS);
    steps.set(step, [...(steps.get(step) ?? []), value]);
  }
  const averages = [...steps.values()].map((values) => values.reduce((sum, one) => sum + one, 0) / values.length);
  return averages.length > 0 && averages.every((average) => average > above);
}

const FAILURES = ['UNAVAILABLE', 'INTERNAL'];
const MIB = 1024 * 1024;

export type Excess = { -readonly [Name in keyof typeof limits]?: string };

/** Returns a sentence for each limit that is exceeded. */
export function excessOf(samples: readonly Sample[]): Excess {
  const { publishP99Ms, commitP99Ms, walMiB, failures } = limits;
  const excess: Excess = {};
  if (isAbove(samples, publishP99Ms, (one) => one.publishP99Ms)) {
    excess.publishP99Ms = `p99 over ${publishP99Ms.above} ms for ${publishP99Ms.minutes} min`;
  }
  if (isAbove(samples, commitP99Ms, (one) => one.commitP99Ms)) {
    excess.commitP99Ms = `p99 over ${commitP99Ms.above} ms for ${commitP99Ms.minutes} min`;
  }
  if (isAbove(samples, walMiB, ({ walBytes }) => walBytes / MIB)) {
    excess.walMiB = `WAL over ${walMiB.above} MiB for ${walMiB.minutes} min`;
  }
  const sinceMs = (samples.at(-1)?.at ?? 0) - failures.minutes * MINUTE_MS;
  const failed = samples
    .filter(({ at }) => at > sinceMs)
    .reduce((sum, { refused }) => sum + FAILURES.reduce((of, code) => of + (refused[code] ?? 0), 0), 0);
  if (failed > failures.above) excess.failures = `${failed} failed in ${failures.minutes} min`;
  return excess;
}
