import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { StatsSample } from '../shared/server-stats.ts';
import type { Metrics } from './metrics.ts';

export type StatsHistoryParts = {
  bus: { readonly published: number };
  delivery: { readonly counts: { delivered: number; replays: number; gaps: { readonly [reason: string]: number } } };
  connections: {
    readonly count: number;
    totals(): { subscriptions: number; unsentBytes: number; mostLag: number };
  };
  metrics: Pick<Metrics, 'takeSecond'>;
};
/** `samplesElsewhere`: the last sample of each other server of the log. */
type Parts = StatsHistoryParts & { samplesElsewhere: () => readonly StatsSample[] };

type Totals = Pick<StatsSample, 'published' | 'delivered' | 'gaps' | 'replays'>;

/** An hour. */
const MAX_SAMPLES = 3_600;
/** Each measurement wakes the process, also an idle one. */
const LOOP_RESOLUTION_MS = 20;
/** Samples that share a measurement of the memory: the system takes up to a millisecond for it. */
const MEMORY_SAMPLES = 5;

/** Keeps one sample of all servers of the log for each second of the last hour, in memory. */
export class StatsHistory {
  readonly #parts: Parts;
  readonly #samples: StatsSample[] = [];
  readonly #loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  #before: Totals;
  #own: StatsSample | undefined;
  #taken = 0;
  #memoryBytes = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#before = this.#totals();
    this.#loop.enable();
  }

  close(): void {
    this.#loop.disable();
  }

  /** The last sample of this server alone. */
  get own(): StatsSample | undefined {
    return this.#own;
  }

  /** Takes a sample. Call it once a second. */
  sample(): void {
    const { connections, metrics } = this.#parts;
    const { subscriptions, unsentBytes, mostLag } = connections.totals();
    const { publishMs, commitMs, refused, databaseBytes, walBytes } = metrics.takeSecond();
    const now = this.#totals();
    const before = this.#before;
    this.#before = now;
    if (this.#taken++ % MEMORY_SAMPLES === 0) this.#memoryBytes = process.memoryUsage.rss();
    const own: StatsSample = {
      at: Date.now(),
      connections: connections.count,
      subscriptions,
      published: now.published - before.published,
      delivered: now.delivered - before.delivered,
      publishP50Ms: percentile(publishMs, 0.5),
      publishP99Ms: percentile(publishMs, 0.99),
      commitP99Ms: percentile(commitMs, 0.99),
      gaps: now.gaps - before.gaps,
      replays: now.replays - before.replays,
      refused,
      loopDelayMs: Math.max(0, Math.round(this.#loop.max / 1e6) - LOOP_RESOLUTION_MS),
      memoryBytes: this.#memoryBytes,
      unsentBytes,
      mostLag,
      databaseBytes,
      walBytes,
    };
    this.#own = own;
    this.#samples.push(this.#parts.samplesElsewhere().reduce(merged, own));
    this.#loop.reset();
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
  }

  /** Returns the samples after a time (Unix ms), oldest first. */
  since(atMs: number): StatsSample[] {
    const index = this.#samples.findIndex(({ at }) => at > atMs);
    return index === -1 ? [] : this.#samples.slice(index);
  }

  #totals(): Totals {
    const { bus, delivery } = this.#parts;
    const { delivered, replays, gaps } = delivery.counts;
    return {
      published: bus.published,
      delivered,
      replays,
      gaps: Object.values(gaps).reduce((sum, one) => sum + one, 0),
    };
  }
}

/** Returns the sample of two servers: their sums, and of times, delays and lags the larger one. */
function merged(a: StatsSample, b: StatsSample): StatsSample {
  const sums = [
    'connections',
    'subscriptions',
    'published',
    'delivered',
    'gaps',
    'replays',
    'memoryBytes',
    'unsentBytes',
  ];
  const result: StatsSample = { ...a, refused: { ...a.refused } };
  for (const [name, value] of Object.entries(b) as [keyof StatsSample, StatsSample[keyof StatsSample]][]) {
    if (name === 'at' || name === 'refused') continue;
    const [one, other] = [a[name] as number | null, value as number | null];
    const isSum = sums.includes(name);
    Object.assign(result, {
      [name]: one === null || other === null ? (one ?? other) : isSum ? one + other : Math.max(one, other),
    });
  }
  for (const [code, count] of Object.entries(b.refused)) result.refused[code] = (result.refused[code] ?? 0) + count;
  return result;
}

/** Returns the value below which the given part of the numbers lies, rounded to 0.1; null without numbers. */
function percentile(values: number[], part: number): number | null {
  if (values.length === 0) return null;
  values.sort((a, b) => a - b);
  const value = values[Math.min(values.length - 1, Math.floor(part * values.length))] as number;
  return Math.round(value * 10) / 10;
}
