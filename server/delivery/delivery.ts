import { setTimeout as delay } from 'node:timers/promises';
import type { RunSummary } from '../../shared/run.ts';
import type { Log, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { notCurrentError } from '../event-log/current.ts';
import { Turns } from '../slices.ts';
import { ChangedRuns } from './changed-runs.ts';
import { DirectSubscription } from './direct.ts';
import { type EventQuery, EventReader } from './events.ts';
import { ReaderIterator, type Tracked } from './iterator.ts';
import { Notifier } from './notifier.ts';
import type { DeliveryCounts, Reader, ReaderContext } from './reader.ts';
import { ResumePositions } from './resume-positions.ts';
import { type SummaryQuery, SummaryReader } from './summaries.ts';
import type { Transport } from './transport.ts';
import { Window, type WindowLimits } from './window.ts';

/**
 * How long readers wait for a log that is not current. Then their sockets close, and the clients reconnect: another node may
 * be current.
 */
const MAX_STALE_MS = 10_000;
const STALE_POLL_MS = 50;

/** Limits of the shared window; bytes are UTF-16 units of JSON. */
const WINDOW_LIMITS: WindowLimits = { records: 4_096, bytes: 16 * 1024 * 1024 };

export type DeliveryOptions = {
  log: Log & Pick<EventLog, 'runs'>;
  /** A reader that has sent nothing for this time, while the log grew, sends the head of the log. Default 30,000. */
  quietMs?: number | undefined;
  /** Maps an error that ends a subscription to the error that the client receives. Default: the same error. */
  translate?: (error: unknown) => unknown;
};

/** All subscriptions of one server. {@link committed} must be called after each commit of the log. */
export class Delivery {
  readonly counts: DeliveryCounts = {
    delivered: 0,
    replays: 0,
    gaps: { expired: 0, epoch_changed: 0, ahead: 0, access_changed: 0 },
    conflated: 0,
  };
  readonly #context: ReaderContext;
  readonly #window = new Window(WINDOW_LIMITS);
  readonly #changed: ChangedRuns;
  readonly #ticker: NodeJS.Timeout;
  #current: Promise<void> | undefined;

  constructor({ log, quietMs = 30_000, translate = (error) => error }: DeliveryOptions) {
    const { counts } = this;
    const notifier = new Notifier(log, counts);
    const positions = new ResumePositions(log);
    const turns = new Turns();
    this.#context = { log, notifier, positions, quietMs, turns, translate, counts, untilCurrent: this.#untilCurrent };
    this.#changed = new ChangedRuns(log);
    this.#ticker = setInterval(() => notifier.tick(performance.now() - quietMs), Math.max(10, quietMs / 10));
    this.#ticker.unref();
  }

  /** Sends the records of a commit to waiting readers. Call it first after a commit, before slower work. */
  committed(records: readonly StoredEvent[]): void {
    // After `close` the window stays empty: it would miss later events, and a reader would wait for them in a busy loop.
    const { notifier } = this.#context;
    if (notifier.isClosed) return;
    const [first] = records;
    // Retention has removed the records before, while this node did not reach the store.
    if (first && first.seq > notifier.history.seq + 1) {
      this.#window.clear();
      notifier.skipTo(first.seq - 1);
    }
    this.#window.push(records);
    notifier.notify(records);
  }

  /**
   * Replaces an erased event with its tombstone in the shared window. Readers discard the events that they have buffered,
   * and read again.
   */
  erased(tombstone: StoredEvent): void {
    this.#window.replace(tombstone);
    this.#changed.clear();
  }

  /** Takes over the new history of the log: every reader yields a gap. Call it when the log has a new epoch. */
  renewed(): void {
    this.#window.clear();
    this.#changed.clear();
    this.#context.notifier.renew();
  }

  /** The latest events in memory. */
  get recent(): Pick<Window, 'covers' | 'read'> {
    return this.#window;
  }

  /** Number of readers that wait at the head of the log. */
  get waiting(): number {
    return this.#context.notifier.waiting;
  }

  events<Event>(transport: Transport, query: EventQuery, signal: AbortSignal | undefined): Subscription<Event> {
    return this.#subscriptionOf(transport, new EventReader(this.#context, transport, this.#window, query), signal);
  }

  summaries(transport: Transport, query: SummaryQuery, signal: AbortSignal | undefined): Subscription<RunSummary> {
    return this.#subscriptionOf(transport, new SummaryReader(this.#context, transport, this.#changed, query), signal);
  }

  /**
   * Stops delivery. Sockets have been closed before. The other open readers yield the events up to the head, then fail with
   * `UNAVAILABLE`.
   */
  close(): void {
    this.#window.clear(); // The log may still grow, and the window would lack its new events.
    clearInterval(this.#ticker);
    this.#context.notifier.close();
  }

  /** One promise for all readers that wait for it. */
  readonly #untilCurrent = (): Promise<void> => {
    this.#current ??= this.#waitUntilCurrent().finally(() => {
      this.#current = undefined;
    });
    return this.#current;
  };

  async #waitUntilCurrent(): Promise<void> {
    const { log, notifier } = this.#context;
    const end = performance.now() + MAX_STALE_MS;
    while (!log.isCurrent) {
      if (notifier.isClosed || performance.now() > end) throw notCurrentError();
      await delay(STALE_POLL_MS, undefined, { ref: false });
    }
  }

  #subscriptionOf<Item>(transport: Transport, reader: Reader, signal: AbortSignal | undefined): Subscription<Item> {
    const { sink } = transport;
    if (!sink) return new ReaderIterator<Item>(this.#context, transport, reader, signal);
    // A `DirectSubscription` writes its items to the sink itself, so its type is cast.
    return new DirectSubscription(this.#context, transport, sink, reader) as unknown as Subscription<Item>;
  }
}

/** Yields tracked items (items with their cursor). A subscription with a frame sink writes its items as frames instead. */
export type Subscription<Item> = AsyncIterableIterator<Tracked<Item>>;
