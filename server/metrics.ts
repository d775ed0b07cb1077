import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { AccessLogger } from './audit/access-logger.ts';
import type { Delivery } from './delivery/delivery.ts';
import { Distribution } from './distribution.ts';
import type { Log } from './event-log/contract/log.ts';
import type { Health } from './health.ts';

/**
 * The metrics that `GET /metrics` serves to Prometheus. A value that another part of the server counts is read from
 * that part at each scrape. Label values are codes from fixed lists, never text from a client: Prometheus stores a time
 * series for each new label value.
 */

export type MetricsParts = {
  log: Pick<Log, 'head' | 'oldest'>;
  bus: { readonly published: number };
  delivery: Pick<Delivery, 'waiting' | 'counts'>;
  connections: {
    readonly count: number;
    totals(): { subscriptions: number; unsentBytes: number; mostLag: number; slow: number };
    readonly counts: { readonly stalls: number; readonly closes: ReadonlyMap<number, number> };
  };
  streams: { readonly streams: number };
  inFlight: { readonly bytes: number };
  access: Pick<AccessLogger, 'failures'>;
  health: Pick<Health, 'states'>;
  retention: { readonly isPaused: boolean };
  webhooks: {
    readonly count: number;
    readonly pending: number;
    readonly counts: { readonly sent: number; readonly failed: number; readonly deadLetters: number };
  };
  /** Absent where the store has no outbox. */
  outbox?:
    | { readonly waitingMs: number; readonly counts: { readonly moved: number; readonly refused: number } }
    | undefined;
};

const LATENCY_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const BATCH_EVENTS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000];

/**
 * The totals over all connections and their readers are computed at most once in this time: scrapes need no token.
 */
const TOTALS_MS = 1_000;

/** Maximum number of times that are kept for the quantiles of one second. */
const MAX_TIMES = 10_000;
type Second = { publishMs: number[]; commitMs: number[]; refused: { [code: string]: number } };
const emptySecond = (): Second => ({ publishMs: [], commitMs: [], refused: {} });

export class Metrics {
  readonly registry = new Registry();
  readonly #rejections: Counter<'reason'>;
  readonly #publish: Distribution;
  readonly #commit: Distribution;
  readonly #batch: Distribution;
  readonly #files: Gauge<'file'>;
  readonly #commitFailures: Counter;
  #second = emptySecond();
  #sizes = { databaseBytes: 0, walBytes: 0 };

  constructor() {
    const registers = [this.registry];
    const distribution = (name: string, help: string, bounds: readonly number[]) =>
      new Distribution(`runwire_${name}`, help, bounds, this.registry);
    this.#rejections = new Counter({
      name: 'runwire_rejections_total',
      help: 'Requests answered with an error, by error code.',
      labelNames: ['reason'],
      registers,
    });
    this.#publish = distribution(
      'publish_to_write_seconds',
      'Time from a publish call until its events are durable and written to the sockets of waiting readers.',
      LATENCY_SECONDS,
    );
    this.#commit = distribution('log_commit_seconds', 'Duration of a commit to the event log.', LATENCY_SECONDS);
    this.#commitFailures = new Counter({
      name: 'runwire_log_commit_failures_total',
      help: 'Commits that the event log has refused because of its file, its disk or its lock.',
      registers,
    });
    this.#files = new Gauge({
      name: 'runwire_log_file_bytes',
      help: 'Sizes of the database file and of its WAL.',
      labelNames: ['file'],
      registers,
    });
    this.#batch = distribution('log_commit_events', 'Events in a commit to the event log.', BATCH_EVENTS);
  }

  commitFailed(): void {
    this.#commitFailures.inc();
  }

  /** Counts an error response. `reason` is its code in the error table. */
  rejected(reason: string): void {
    this.#rejections.inc({ reason });
    this.#second.refused[reason] = (this.#second.refused[reason] ?? 0) + 1;
  }

  published(ms: number): void {
    this.#publish.observe(ms / 1_000);
    if (this.#second.publishMs.length < MAX_TIMES) this.#second.publishMs.push(ms);
  }

  /** Returns what was measured since the last call, and the sizes of the files. */
  takeSecond(): Second & { databaseBytes: number; walBytes: number } {
    const second = this.#second;
    this.#second = emptySecond();
    return { ...second, ...this.#sizes };
  }

  get sizes(): { databaseBytes: number; walBytes: number } {
    return this.#sizes;
  }

  filesMeasured({ databaseBytes, walBytes }: { databaseBytes: number; walBytes: number }): void {
    this.#sizes = { databaseBytes, walBytes };
    this.#files.set({ file: 'database' }, databaseBytes);
    this.#files.set({ file: 'wal' }, walBytes);
  }

  committed({ events, ms }: { events: number; ms: number }): void {
    this.#commit.observe(ms / 1_000);
    if (this.#second.commitMs.length < MAX_TIMES) this.#second.commitMs.push(ms);
    this.#batch.observe(events);
  }

  /**
   * Adds the metrics that these parts count. The constructor cannot: the log uses this object before the parts exist.
   */
  addSources({
    log,
    bus,
    delivery,
    connections,
    streams,
    inFlight,
    access,
    health,
    retention,
    webhooks,
    outbox,
  }: MetricsParts): void {
    const registers = [this.registry];
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name: `runwire_${name}`,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    const counter = (name: string, help: string, read: () => number) =>
      new Counter({
        name: `runwire_${name}`,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    const labelled = (name: string, help: string, label: string, read: () => Iterable<readonly [string, number]>) =>
      new Counter({
        name: `runwire_${name}`,
        help,
        labelNames: [label],
        registers,
        collect() {
          this.reset();
          for (const [value, count] of read()) this.inc({ [label]: value }, count);
        },
      });
    const { counts } = delivery;
    let known = { at: Number.NEGATIVE_INFINITY, totals: connections.totals() };
    const totals = () => {
      const now = performance.now();
      if (now - known.at >= TOTALS_MS) known = { at: now, totals: connections.totals() };
      return known.totals;
    };

    gauge('connections', 'Open WebSocket connections.', () => connections.count);
    gauge('subscriptions', 'Subscriptions on WebSocket connections.', () => totals().subscriptions);
    gauge('streams', 'Open streams of server-sent events.', () => streams.streams);
    gauge('in_flight_bytes', 'Bytes of HTTP requests and answers in memory.', () => inFlight.bytes);
    gauge('waiting_readers', 'Readers, of all transports, that wait at the head of the log.', () => delivery.waiting);
    gauge('slow_readers', 'WebSocket connections paused because of unsent data.', () => totals().slow);
    gauge('reader_lag_events', 'Events between the slowest reader and the head of the log.', () => totals().mostLag);
    gauge('unsent_bytes', 'Bytes not yet accepted by WebSocket peers.', () => totals().unsentBytes);
    gauge('log_head', 'Highest position in the log.', () => log.head);
    gauge('log_oldest', 'Lowest position kept in the log.', () => log.oldest);
    gauge('retention_paused', 'Whether nothing is deleted, because the system clock may be wrong (1) or not (0).', () =>
      Number(retention.isPaused),
    );
    counter('published_events_total', 'Events added to the log.', () => bus.published);
    counter('delivered_messages_total', 'Messages sent to readers of all transports.', () => counts.delivered);
    counter('replays_total', 'Subscriptions that started behind the head of the log.', () => counts.replays);
    counter('conflated_events_total', 'Progress events skipped in favour of later progress.', () => counts.conflated);
    counter('stalls_total', 'Times a reader waited for its WebSocket to drain.', () => connections.counts.stalls);
    counter(
      'access_record_failures_total',
      'Failed writes to the access log; each batch is retried.',
      () => access.failures,
    );
    gauge('webhooks', 'Webhooks, with those that are paused.', () => webhooks.count);
    gauge('webhook_pending', 'Messages of webhooks that wait for a try.', () => webhooks.pending);
    counter('webhook_messages_total', 'Messages that receivers of webhooks have taken.', () => webhooks.counts.sent);
    counter('webhook_failures_total', 'Failed tries to send a message of a webhook.', () => webhooks.counts.failed);
    counter(
      'webhook_dead_letters_total',
      'Messages of webhooks that the server has given up.',
      () => webhooks.counts.deadLetters,
    );
    if (outbox) {
      counter('outbox_moved_total', 'Drafts of runwire_publish that are logged.', () => outbox.counts.moved);
      counter('outbox_refused_total', 'Drafts of runwire_publish that are refused.', () => outbox.counts.refused);
      gauge(
        'outbox_waiting_seconds',
        'Age of the first draft of runwire_publish that waits; 0 on servers that do not move drafts.',
        () => outbox.waitingMs / 1_000,
      );
    }
    labelled('gaps_total', 'Gaps reported to readers, by reason.', 'reason', () => Object.entries(counts.gaps));
    labelled('closes_total', 'WebSocket connections closed by the server, by close code.', 'code', () =>
      [...connections.counts.closes].map(([code, count]) => [String(code), count] as const),
    );
    new Gauge({
      name: 'runwire_unhealthy',
      help: 'Whether a condition has a problem (1) or not (0); /readyz answers 503 while any but backplane has one.',
      labelNames: ['condition'],
      registers,
      collect() {
        for (const [condition, hasProblem] of health.states()) this.set({ condition }, hasProblem ? 1 : 0);
      },
    });
  }
}

/** Adds CPU and memory of the process, and not the version of Node: scrapes need no token. */
export function addProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
  registry.removeSingleMetric('nodejs_version_info');
}
