import type { RecordState } from '../shared/audit.ts';
import type { ClientStats, RecordStats, ServerStats, StatsSample } from '../shared/server-stats.ts';
import { coversProjects } from './auth/permissions.ts';
import type { Principal } from './auth/principal.ts';
import type { EventLog } from './event-log/contract/store.ts';
import type { Metrics } from './metrics.ts';
import type { ServerPolicy } from './phi/policy.ts';
import type { Retention } from './retention.ts';
import { StatsHistory, type StatsHistoryParts } from './stats-history.ts';
import { version } from './version.ts';

/** Computes the statistics that `getStats()` and the procedures `server.stats`, `server.history` and `server.record` return. */

export type StatsParts = StatsHistoryParts & {
  log: Pick<EventLog, 'epoch' | 'head' | 'oldest' | 'integrity' | 'search'>;
  audit: { state(): RecordState };
  retention: Pick<Retention, 'days' | 'runsDays' | 'isPaused'>;
  metrics: Pick<Metrics, 'takeSecond' | 'sizes'>;
  phiPolicy: ServerPolicy;
  connections: {
    stats(includes: (principal: Principal | undefined) => boolean): ClientStats[];
  };
};

type Counts = { published: number; delivered: number };

const RATE_SAMPLES = 10;
const SAMPLE_MS = 1_000;

export class Stats {
  readonly #parts: StatsParts;
  readonly #startedAt = performance.now();
  readonly #samples: (Counts & { at: number })[] = [];
  readonly #history: StatsHistory;
  readonly #timer: NodeJS.Timeout;

  constructor(parts: StatsParts) {
    this.#parts = parts;
    this.#history = new StatsHistory(parts);
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS).unref();
  }

  /**
   * Returns the current statistics. With `visibleTo`, `clients` lists only connections with projects that this
   * principal's token covers. Default: all connections.
   */
  read(visibleTo?: Principal): ServerStats {
    const { log, connections, phiPolicy } = this.#parts;
    const { published, delivered } = this.#counts();
    const perSecond = this.#perSecond();
    return {
      epoch: log.epoch,
      head: log.head,
      oldest: log.oldest,
      uptimeMs: this.#uptimeMs,
      connections: connections.count,
      subscriptions: connections.totals().subscriptions,
      published,
      delivered,
      publishedPerSecond: perSecond.published,
      deliveredPerSecond: perSecond.delivered,
      phiPolicy,
      clients: connections.stats((principal) => visibleTo === undefined || coversProjects(visibleTo, principal)),
    };
  }

  /** Returns one sample for each second after a time (Unix ms), of the last hour at most. */
  history(since: number): StatsSample[] {
    return this.#history.since(since);
  }

  /** Returns the state of the log and of its record. */
  async record(): Promise<RecordStats> {
    const { log, audit, retention, metrics } = this.#parts;
    const { checkpoint, erasures } = await log.integrity.signed();
    return {
      epoch: log.epoch,
      record: audit.state(),
      ...(checkpoint ? { checkpoint: { seq: checkpoint.seq, at: checkpoint.at } } : {}),
      erasures,
      retentionDays: retention.days ?? null,
      retentionRunsDays: retention.runsDays ?? null,
      isRetentionPaused: retention.isPaused,
      searchLag: log.search.lag,
      ...metrics.sizes,
      version: version(),
      uptimeMs: this.#uptimeMs,
    };
  }

  get #uptimeMs(): number {
    return Math.round(performance.now() - this.#startedAt);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#history.close();
  }

  #counts(): Counts {
    const { bus, delivery } = this.#parts;
    return { published: bus.published, delivered: delivery.counts.delivered };
  }

  /** Averages per second since the oldest sample, which is about 10 s old. */
  #perSecond(): Counts {
    const [first] = this.#samples;
    const seconds = (performance.now() - (first?.at ?? 0)) / 1000;
    if (!first || seconds <= 0) return { published: 0, delivered: 0 };
    const now = this.#counts();
    return {
      published: Math.round((now.published - first.published) / seconds),
      delivered: Math.round((now.delivered - first.delivered) / seconds),
    };
  }

  #sample(): void {
    this.#samples.push({ at: performance.now(), ...this.#counts() });
    if (this.#samples.length > RATE_SAMPLES) this.#samples.shift();
    if (this.#samples.length > 1) this.#history.sample();
  }
}
