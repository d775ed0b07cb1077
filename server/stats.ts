import type { RecordState } from '../shared/audit.ts';
import type { ClientStats, NodeStats, RecordStats, ServerStats, StatsSample } from '../shared/server-stats.ts';
import { coversProjects } from './auth/permissions.ts';
import type { Principal } from './auth/principal.ts';
import type { EventLog } from './event-log/contract/store.ts';
import type { Metrics } from './metrics.ts';
import type { Peers } from './peers.ts';
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
  peers: Pick<Peers, 'id' | 'publish' | 'partsOf'>;
  connections: {
    stats(includes: (principal: Principal | undefined) => boolean): ClientStats[];
    mostLagging(count: number): ClientStats[];
  };
};

type Counts = { published: number; delivered: number };
/** What a server publishes for the statistics of the others. */
type Published = { node: NodeStats; clients: ClientStats[]; sample: StatsSample | undefined };

/** Number and size, as JSON, of the clients in the state of a server. */
const MAX_CLIENTS = 128;
const MAX_CLIENTS_CHARS = 24 * 1024;

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
    const samples = () => [...this.#published().values()].flatMap(({ sample }) => sample ?? []);
    this.#history = new StatsHistory({ ...parts, samplesElsewhere: samples });
    parts.peers.publish('stats', (): Published => {
      return { node: this.#ownNode(), clients: this.#mostLagging(), sample: this.#history.own };
    });
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS).unref();
  }

  /**
   * Returns the current statistics. With `visibleTo`, `clients` lists only connections with projects that this
   * principal's token covers. Default: all connections.
   */
  read(visibleTo?: Principal): ServerStats {
    const { log, connections, phiPolicy, peers } = this.#parts;
    const passes = (principal: Pick<Principal, 'projects'> | undefined) =>
      visibleTo === undefined || coversProjects(visibleTo, principal);
    const others = [...this.#published().values()];
    const nodes = this.#nodes();
    const sum = (field: Exclude<keyof NodeStats, 'id'>) => nodes.reduce((total, node) => total + node[field], 0);
    const own = connections.stats(passes);
    const far = others.flatMap(({ node, clients }) =>
      clients.filter(({ projects }) => passes(projects && { projects })).map((one) => ({ ...one, node: node.id })),
    );
    return {
      epoch: log.epoch,
      head: log.head,
      oldest: log.oldest,
      uptimeMs: this.#uptimeMs,
      connections: sum('connections'),
      subscriptions: sum('subscriptions'),
      published: sum('published'),
      delivered: sum('delivered'),
      publishedPerSecond: sum('publishedPerSecond'),
      deliveredPerSecond: sum('deliveredPerSecond'),
      phiPolicy,
      clients: others.length === 0 ? own : [...own.map((one) => ({ ...one, node: peers.id })), ...far],
      nodes,
    };
  }

  #nodes(): NodeStats[] {
    return [this.#ownNode(), ...[...this.#published().values()].map(({ node }) => node)];
  }

  #published(): Map<string, Published> {
    return this.#parts.peers.partsOf<Published>('stats');
  }

  #ownNode(): NodeStats {
    const { log, connections, peers } = this.#parts;
    const perSecond = this.#perSecond();
    return {
      id: peers.id,
      uptimeMs: this.#uptimeMs,
      head: log.head,
      connections: connections.count,
      subscriptions: connections.totals().subscriptions,
      ...this.#counts(),
      publishedPerSecond: perSecond.published,
      deliveredPerSecond: perSecond.delivered,
    };
  }

  /** Returns the clients with the most lag, as many as fit into the state of the server. */
  #mostLagging(): ClientStats[] {
    let chars = 0;
    return this.#parts.connections.mostLagging(MAX_CLIENTS).filter((client) => {
      chars += JSON.stringify(client).length;
      return chars <= MAX_CLIENTS_CHARS;
    });
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
      nodes: this.#nodes(),
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
