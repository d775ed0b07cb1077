import type { Log, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { PendingDelivery, WebhookRecord } from '../event-log/contract/webhooks.ts';
import { requireCurrent } from '../event-log/current.ts';
import type { Turns } from '../slices.ts';
import type { WebhookMatcher } from './filter.ts';
import type { Built, WebhookMessages } from './messages.ts';

const PAGE_EVENTS = 256;

/** The latest events in memory; see `delivery/window.ts`. */
export type RecentEvents = {
  covers(after: number): boolean;
  read(
    after: number,
    limit: number,
    matches: (record: StoredEvent) => boolean,
  ): { records: StoredEvent[]; scannedTo: number };
};

export type SourceParts = {
  log: Log & Pick<EventLog, 'runs'>;
  recent: RecentEvents;
  messages: WebhookMessages;
  turns: Turns;
};

/** Reads events for webhooks, from memory or the log. Each webhook takes its turns like a user. */
export class WebhookSource {
  readonly #parts: SourceParts;

  constructor(parts: SourceParts) {
    this.#parts = parts;
  }

  /** Reads events after a position that match. */
  async read(
    id: string,
    { matches, types, matchesRun }: WebhookMatcher,
    after: number,
  ): Promise<{ records: StoredEvent[]; scannedTo: number; oldest: number }> {
    const { log, recent } = this.#parts;
    const user = userOf(id);
    await this.turn(id);
    const { oldest, ...page } = recent.covers(after)
      ? { ...recent.read(after, PAGE_EVENTS, matches), oldest: log.oldest }
      : await log.read({ scope: { kind: 'all' }, after, types, limit: PAGE_EVENTS, user });
    const records = await this.#ofRuns(page.records.filter(matches), matchesRun, id);
    return { records, scannedTo: page.scannedTo, oldest: Math.min(oldest, log.head + 1) };
  }

  /**
   * Builds the message of a delivery from the event as it is now. `gone`: the event was removed, or does not match any more.
   */
  async build(
    { id, settings }: WebhookRecord,
    { matches, matchesRun }: WebhookMatcher,
    { kind, seq, gap }: Pick<PendingDelivery, 'kind' | 'seq' | 'gap'>,
  ): Promise<Built | 'gone'> {
    const { log, messages } = this.#parts;
    const target = { id, shape: settings.shape };
    if (kind === 'gap') return gap ? messages.ofGap(target, gap, log.epoch) : 'gone';
    const record = await this.eventAt(id, seq);
    if (!record || !matches(record)) return 'gone';
    if ((await this.#ofRuns([record], matchesRun, id)).length === 0) return 'gone';
    return this.bodyOf(target, record);
  }

  async bodyOf(target: Parameters<WebhookMessages['ofEvent']>[0], record: StoredEvent): Promise<Built> {
    const { log, messages } = this.#parts;
    requireCurrent(log);
    const [run] = target.shape === 'json' ? [] : await log.runs.headers([record], { user: userOf(target.id) });
    return messages.ofEvent(target, record, run);
  }

  async eventAt(id: string, seq: number): Promise<StoredEvent | undefined> {
    const { log, recent } = this.#parts;
    const after = seq - 1;
    for (;;) {
      const { records, erasures } = recent.covers(after)
        ? { ...recent.read(after, 1, () => true), erasures: log.erasures }
        : await log.read({ scope: { kind: 'all' }, after, limit: 1, user: userOf(id) });
      if (erasures >= log.erasures) return records.find((record) => record.seq === seq);
    }
  }

  async #ofRuns(records: StoredEvent[], matchesRun: WebhookMatcher['matchesRun'], id: string): Promise<StoredEvent[]> {
    if (!matchesRun || records.length === 0) return records;
    const headers = await this.#parts.log.runs.headers(records, { user: userOf(id) });
    return records.filter((_, index) => {
      const header = headers[index];
      return header !== undefined && matchesRun(header);
    });
  }

  /** Waits for the webhook's turn, if the event loop has been busy. */
  async turn(id: string): Promise<void> {
    const pause = this.#parts.turns.next({ user: userOf(id) });
    if (pause) await pause;
  }
}

/** No user of a token: ids of users have no control characters. */
const userOf = (id: string): string => `webhook\n${id}`;
