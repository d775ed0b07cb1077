import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { AccessLogger } from './audit/access-logger.ts';
import type { Delivery } from './delivery/delivery.ts';
import type { EventLog } from './event-log/contract/store.ts';
import type { EventBus } from './publishing/bus.ts';
import type { Connections } from './ws/connections.ts';

/**
 * `GET /metrics`, for Prometheus. What others count is read when it is asked for; labels are codes of ours and never text
 * of a client's.
 */

export type MetricsOptions = {
  log: EventLog;
  // biome-ignore lint/suspicious/noExplicitAny: of any registry of events.
  bus: EventBus<any>;
  delivery: Delivery;
  connections: Connections;
  access: Pick<AccessLogger, 'failures'>;
};

const LATENCY_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const BATCH_EVENTS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000];

export class Metrics {
  readonly registry = new Registry();
  readonly #rejections: Counter<'reason'>;
  readonly #publish: Histogram;
  readonly #commit: Histogram;
  readonly #batch: Histogram;

  constructor({ log, bus, delivery, connections, access }: MetricsOptions) {
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
    const histogram = (name: string, help: string, buckets: number[]) =>
      new Histogram({ name: `runwire_${name}`, help, buckets, registers });
    const { counts } = delivery;

    gauge('connections', 'Open WebSockets.', () => connections.count);
    gauge('subscriptions', 'Subscriptions on WebSockets.', () => connections.totals().subscriptions);
    gauge('waiting_readers', 'Readers, of every transport, that have caught up.', () => delivery.waiting);
    gauge(
      'slow_readers',
      'WebSockets with so much unsent that they are not read for.',
      () => connections.totals().slow,
    );
    gauge(
      'reader_lag_events',
      'Events that the furthest reader is behind the head.',
      () => connections.totals().mostLag,
    );
    gauge('unsent_bytes', 'Bytes that WebSockets have yet to take.', () => connections.totals().unsentBytes);
    gauge('log_head', 'Greatest position of the log.', () => log.head);
    gauge('log_oldest', 'Least position that is kept.', () => log.oldest);
    counter('published_events_total', 'Events logged.', () => bus.published);
    counter('delivered_messages_total', 'Messages sent to readers of every transport.', () => counts.delivered);
    counter('replays_total', 'Subscriptions that began behind the head.', () => counts.replays);
    counter('conflated_events_total', 'Progress left out since later progress supersedes it.', () => counts.conflated);
    counter('stalls_total', 'Times that a reader had to wait for its WebSocket.', () => connections.counts.stalls);
    counter(
      'access_record_failures_total',
      'Batches of the record of access that could not be written at first.',
      () => access.failures,
    );
    labelled('gaps_total', 'Gaps that readers were told of.', 'reason', () => Object.entries(counts.gaps));
    labelled('closes_total', 'WebSockets that the server closed.', 'code', () =>
      [...connections.counts.closes].map(([code, count]) => [String(code), count] as const),
    );
    this.#rejections = new Counter({
      name: 'runwire_rejections_total',
      help: 'Requests that were answered with an error.',
      labelNames: ['reason'],
      registers,
    });
    this.#publish = histogram(
      'publish_to_write_seconds',
      'From the call of publish until the events were durable and written to the sockets of those who waited for them.',
      LATENCY_SECONDS,
    );
    this.#commit = histogram('log_commit_seconds', 'Time that a commit of the log took.', LATENCY_SECONDS);
    this.#batch = histogram('log_commit_events', 'Events of a commit of the log.', BATCH_EVENTS);
  }

  /** `reason`: a code of the error table. */
  rejected(reason: string): void {
    this.#rejections.inc({ reason });
  }

  published(ms: number): void {
    this.#publish.observe(ms / 1_000);
  }

  committed({ events, ms }: { events: number; ms: number }): void {
    this.#commit.observe(ms / 1_000);
    this.#batch.observe(events);
  }
}
