import type { RunHeader } from '../../shared/run.ts';
import type { Log, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { ChangedRuns } from './changed-runs.ts';
import { DirectSubscription } from './direct.ts';
import { type EventQuery, EventReader } from './events.ts';
import { ReaderIterator, type Tracked } from './iterator.ts';
import { Notifier } from './notifier.ts';
import type { DeliveryCounts, Reader, ReaderContext } from './reader.ts';
import { type SummaryQuery, SummaryReader } from './summaries.ts';
import type { Transport } from './transport.ts';
import { Window, type WindowLimits } from './window.ts';

/** What readers share in memory; bytes of JSON. */
const WINDOW: WindowLimits = { records: 4_096, bytes: 16 * 1024 * 1024 };

export type DeliveryOptions = {
  log: Log & Pick<EventLog, 'integrity' | 'runs'>;
  /** How long a reader may hear nothing while the head moves on; default 30 s. */
  quietMs?: number | undefined;
  /** Makes of what ends a subscription the error that its client is told; default the same. */
  translate?: (error: unknown) => unknown;
};

/** All subscriptions of one server: hands out readers, and rings for them when the log has moved on. */
export class Delivery {
  readonly counts: DeliveryCounts = {
    delivered: 0,
    replays: 0,
    gaps: { expired: 0, epoch_changed: 0, ahead: 0, access_changed: 0 },
    conflated: 0,
  };
  readonly #context: ReaderContext;
  readonly #window = new Window(WINDOW);
  readonly #changed: ChangedRuns;
  readonly #ticker: NodeJS.Timeout;

  constructor({ log, quietMs = 30_000, translate = (error) => error }: DeliveryOptions) {
    const { counts } = this;
    const notifier = new Notifier({ epoch: log.epoch, head: log.head, counts });
    this.#context = { log, notifier, quietMs, translate, counts, erasures: 0 };
    this.#changed = new ChangedRuns(log);
    this.#ticker = setInterval(() => notifier.tick(performance.now() - quietMs), Math.max(10, quietMs / 10));
    this.#ticker.unref();
  }

  /** Sends the records of a commit to the readers that wait for them. Call it after each commit, before slower work. */
  committed(records: readonly StoredEvent[]): void {
    this.#window.push(records);
    this.#context.notifier.notify(records);
  }

  /** Replaces an erased event, here and in every reader that holds it. Call it after each erasure, with the tombstone. */
  erased(tombstone: StoredEvent): void {
    this.#window.replace(tombstone);
    this.#changed.clear();
    this.#context.erasures++;
  }

  /** Readers that wait for news. */
  get waiting(): number {
    return this.#context.notifier.waiting;
  }

  events<Event>(transport: Transport, query: EventQuery, signal: AbortSignal | undefined): Subscription<Event> {
    return this.#taken(transport, new EventReader(this.#context, transport, this.#window, query), signal);
  }

  summaries(transport: Transport, query: SummaryQuery, signal: AbortSignal | undefined): Subscription<RunHeader> {
    return this.#taken(transport, new SummaryReader(this.#context, transport, this.#changed, query), signal);
  }

  /** Readers that are still on, those without a socket, fail with `UNAVAILABLE` once they have nothing more to yield. */
  close(): void {
    this.#window.clear(); // The log may outlive it: its head would be beyond the end of the window.
    clearInterval(this.#ticker);
    this.#context.notifier.close();
  }

  #taken<Item>(transport: Transport, reader: Reader, signal: AbortSignal | undefined): Subscription<Item> {
    const { sink } = transport;
    if (!sink) return new ReaderIterator<Item>(this.#context, transport, reader, signal);
    // It yields itself, to the encoder, and sends what the type says.
    return new DirectSubscription(this.#context, transport, sink, reader) as AsyncIterableIterator<unknown> as never;
  }
}

/** Tracked items, as its type says, unless its transport has a sink: then it sends them itself, and yields none. */
export type Subscription<Item> = AsyncIterableIterator<Tracked<Item>>;
