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

type Totals = Pick<StatsSample, 'published' | 'delivered' | 'gaps' | 'replays'>;

/** An hour. */
const MAX_SAMPLES = 3_600;
const LOOP_RESOLUTION_MS = 10;

/** Keeps one sample of the server for each second of the last hour, in memory. */
export class StatsHistory {
  readonly #parts: StatsHistoryParts;
  readonly #samples: StatsSample[] = [];
  readonly #loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  #before: Totals;

  constructor(parts: StatsHistoryParts) {
    this.#parts = parts;
    this.#before = this.#totals();
    this.#loop.enable();
  }

  close(): void {
    this.#loop.disable();
  }

  /** Takes a sample. Call it once a second. */
  sample(): void {
    const { connections, metrics } = this.#parts;
    const { subscriptions, unsentBytes, mostLag } = connections.totals();
    const { publishMs, commitMs, refused, databaseBytes, walBytes } = metrics.takeSecond();
    const now = this.#totals();
    const before = this.#before;
    this.#before = now;
    this.#samples.push({
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
      memoryBytes: process.memoryUsage.rss(),
      unsentBytes,
      mostLag,
      databaseBytes,
      walBytes,
    });
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

/** Returns the value below which the given part of the numbers lies, rounded to 0.1; null without numbers. */
function percentile(values: number[], part: number): number | null {
  if (values.length === 0) return null;
  values.sort((a, b) => a - b);
  const value = values[Math.min(values.length - 1, Math.floor(part * values.length))] as number;
  return Math.round(value * 10) / 10;
}
