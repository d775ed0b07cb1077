import type { RunHeader } from '../../shared/run.ts';
import type { EventLog } from '../event-log/log.ts';
import { Bell } from './bell.ts';
import { type EventQuery, EventReader } from './events.ts';
import type { ReaderContext, Tracked, Transport } from './reader.ts';
import { type SummaryQuery, SummaryReader } from './summaries.ts';
import { Window, type WindowLimits } from './window.ts';

/** What readers share in memory; bytes of JSON. */
const WINDOW: WindowLimits = { records: 4_096, bytes: 16 * 1024 * 1024 };

/** All subscriptions of one server: hands out readers, and wakes them when the log has moved on. */
export class Delivery {
  readonly #log: EventLog;
  readonly #window = new Window(WINDOW);
  readonly #bell = new Bell();
  readonly #quietMs: number;
  readonly #ticker: NodeJS.Timeout;
  readonly #stopListening: () => void;
  #delivered = 0;

  /** `quietMs`: how long a reader may hear nothing while the head moves on; default 30 s. */
  constructor({ log, quietMs = 30_000 }: { log: EventLog; quietMs?: number | undefined }) {
    this.#log = log;
    this.#quietMs = quietMs;
    this.#stopListening = log.subscribe((records) => {
      this.#window.push(records);
      this.#bell.ring(records);
    });
    this.#ticker = setInterval(() => this.#bell.tick(log.head), Math.max(10, quietMs / 10));
    this.#ticker.unref();
  }

  /** Items yielded to all readers since the start. */
  get delivered(): number {
    return this.#delivered;
  }
  /** Readers that wait for news. */
  get waiting(): number {
    return this.#bell.waiting;
  }

  events<Event>(
    transport: Transport,
    query: EventQuery,
    signal: AbortSignal | undefined,
  ): AsyncIterableIterator<Tracked<Event>> {
    return new EventReader<Event>(this.#contextOf(transport), this.#window, query, signal);
  }

  summaries(
    transport: Transport,
    query: SummaryQuery,
    signal: AbortSignal | undefined,
  ): AsyncIterableIterator<Tracked<RunHeader>> {
    return new SummaryReader(this.#contextOf(transport), query, signal);
  }

  /** Readers that are still on, those without a socket, fail with `UNAVAILABLE` once they have nothing more to yield. */
  close(): void {
    this.#stopListening();
    clearInterval(this.#ticker);
    this.#bell.close();
  }

  #contextOf(transport: Transport): ReaderContext {
    return {
      log: this.#log,
      bell: this.#bell,
      transport,
      quietMs: this.#quietMs,
      onDelivered: () => {
        this.#delivered++;
      },
    };
  }
}
