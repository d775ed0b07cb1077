import { RunwireError } from '../../shared/errors.ts';
import type {
  DeadLetter,
  WebhookFilter,
  WebhookMessage,
  WebhookPreview,
  WebhookShape,
  WebhookTry,
  WebhookTryDetail,
} from '../../shared/webhooks.ts';
import { can } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { DeliveryKey, WebhookPage, WebhookPageQuery } from '../event-log/contract/webhooks.ts';
import type { ConsumerParts, WebhookConsumer } from './consumer.ts';
import { requireProjects, WebhookMatcher } from './filter.ts';
import { headersOf } from './sender.ts';

/** Events that a preview looks at, the newest of them. */
const MAX_PREVIEWED = 50_000;
const DAY_MS = 24 * 3_600_000;
/** Dead letters that are sent again or dropped with one write. */
const PAGE_LETTERS = 200;

/** A position of the log, or an instant (ISO 8601 UTC). */
export type From = { fromSeq: number } | { since: string };

type Parts = {
  log: Log & Pick<EventLog, 'webhooks'>;
  typesOf: (category: string) => readonly string[];
  parts: Pick<ConsumerParts, 'source' | 'matcherOf'>;
  find: (principal: Principal, id: string) => WebhookConsumer;
};

/** What administrators see and do about the deliveries of webhooks. */
export class WebhookDeliveries {
  readonly #options: Parts;

  constructor(options: Parts) {
    this.#options = options;
  }

  /** The latest tries. */
  async list(principal: Principal, id: string, query: WebhookPageQuery): Promise<WebhookPage<WebhookTry>> {
    this.#options.find(principal, id);
    return visiblePage(principal, await this.#options.log.webhooks.tries(id, query));
  }

  /** Returns a try with the message as it would be sent now. */
  async get(principal: Principal, id: string, tryId: number): Promise<WebhookTryDetail> {
    const { record } = this.#options.find(principal, id);
    const found = await this.#options.log.webhooks.try(id, tryId);
    if (!found || !isVisible(principal, found))
      throw new RunwireError('EVENT_NOT_FOUND', 'no such delivery', { path: 'deliveryId' });
    const { source, matcherOf } = this.#options.parts;
    const message = found.kind === 'event' ? await source.build(record, matcherOf(record), found) : 'gone';
    const { messageId } = found;
    const headers = headersOf({ messageId, body: '', secrets: [] }, new Date(found.at));
    return {
      ...found,
      headers: { ...headers, 'webhook-signature': 'v1,…', 'content-type': 'application/json' },
      ...(message === 'gone' ? {} : { body: message.body }),
    };
  }

  async deadLetters(principal: Principal, id: string, query: WebhookPageQuery): Promise<WebhookPage<DeadLetter>> {
    this.#options.find(principal, id);
    return visiblePage(principal, await this.#options.log.webhooks.deadLetters(id, query));
  }

  /** Sends an event or a dead letter again under the same id, or all dead letters. Returns the number of messages. */
  async redeliver(principal: Principal, id: string, what: DeliveryKey | 'dead'): Promise<number> {
    const consumer = this.#options.find(principal, id);
    const { log, parts } = this.#options;
    if (what === 'dead') {
      return this.#eachLetters(consumer, async (letters) => {
        // Retention may have removed the event of a letter.
        const kept = letters.filter(({ kind, seq }) => kind === 'gap' || seq >= log.oldest);
        await consumer.requeue(kept.map(keyOf), { areDead: true });
        return kept.length;
      });
    }
    const letter = await this.#letterOf(id, what);
    const record = what.kind === 'event' ? await parts.source.eventAt(id, what.seq) : undefined;
    const mayBeSent = record ? parts.matcherOf(consumer.record).matches(record) : what.kind === 'gap';
    const message = record ? { ...what, projectId: record.projectId, runId: record.runId } : letter && keyOf(letter);
    if (!message || !mayBeSent) {
      throw new RunwireError('EVENT_NOT_FOUND', 'no such event, or the webhook does not send it', { path: 'seq' });
    }
    await consumer.requeue([message], { areDead: letter !== undefined });
    return 1;
  }

  /** Removes one dead letter, or all. Returns their number. */
  async drop(principal: Principal, id: string, what: DeliveryKey | 'dead'): Promise<number> {
    const consumer = this.#options.find(principal, id);
    const drop = async (letters: readonly DeliveryKey[]) => {
      consumer.revive(letters);
      await consumer.write();
      return letters.length;
    };
    if (what === 'dead') return this.#eachLetters(consumer, drop);
    if (await this.#letterOf(id, what)) return drop([what]);
    throw new RunwireError('EVENT_NOT_FOUND', 'no such dead letter', { path: 'seq' });
  }

  /** Sends the events from a position or an instant on again, under the same ids. Returns the first position. */
  async replay(principal: Principal, id: string, from: From): Promise<{ fromSeq: number }> {
    const consumer = this.#options.find(principal, id);
    const position = await this.#startOf(from);
    await consumer.replay(position);
    return { fromSeq: position + 1 };
  }

  /** Counts the events that a filter matches from a position or an instant on; default the last 24 h. */
  async preview(
    principal: Principal,
    { filter, shape, from }: { filter: WebhookFilter; shape: WebhookShape; from?: From | undefined },
    signal?: AbortSignal,
  ): Promise<WebhookPreview> {
    requireProjects(principal, filter);
    const { log, typesOf } = this.#options;
    const { source } = this.#options.parts;
    const matcher = new WebhookMatcher(filter, typesOf);
    const start = await this.#startOf(from ?? { since: new Date(Date.now() - DAY_MS).toISOString() });
    const { head } = log;
    const first = Math.max(start, log.oldest - 1, head - MAX_PREVIEWED);
    const preview: WebhookPreview = { count: 0, isComplete: first <= Math.max(start, log.oldest - 1) };
    let last: Awaited<ReturnType<typeof source.eventAt>>;
    for (let after = first; after < head; ) {
      signal?.throwIfAborted();
      const page = await source.read(`preview ${principal.sub}`, matcher, after);
      preview.count += page.records.length;
      last = page.records.at(-1) ?? last;
      after = page.scannedTo;
    }
    if (!last) return preview;
    const { body } = await source.bodyOf({ id: 'preview', shape }, last);
    return { ...preview, latest: { seq: last.seq, type: last.type, body } };
  }

  async #startOf(from: From): Promise<number> {
    return 'fromSeq' in from
      ? positionBefore(from.fromSeq, this.#options.log)
      : this.#options.log.positionBeforeTime(Date.parse(from.since));
  }

  /** Calls `act` with all dead letters, page by page. Returns the sum of its results. */
  async #eachLetters(consumer: WebhookConsumer, act: (letters: DeadLetter[]) => Promise<number>): Promise<number> {
    let count = 0;
    for (let cursor: number | undefined; ; ) {
      const query = { cursor, limit: PAGE_LETTERS };
      const { items, next } = await this.#options.log.webhooks.deadLetters(consumer.record.id, query);
      count += await act(items);
      if (next === undefined) return count;
      cursor = next;
    }
  }

  async #letterOf(id: string, { kind, seq }: DeliveryKey): Promise<DeadLetter | undefined> {
    const { items } = await this.#options.log.webhooks.deadLetters(id, { cursor: 2 * seq - 1, limit: 2 });
    return items.find((letter) => letter.kind === kind && letter.seq === seq);
  }
}

/** The filter may have had more projects at the time of a delivery, which the caller's token does not cover. */
const isVisible = (principal: Principal, { projectId }: WebhookMessage): boolean =>
  can(principal, 'webhooks', { projectId });

const visiblePage = <Item extends WebhookMessage>(
  principal: Principal,
  page: WebhookPage<Item>,
): WebhookPage<Item> => ({
  ...page,
  items: page.items.filter((item) => isVisible(principal, item)),
});

const keyOf = ({ kind, seq, projectId = '', runId = '', gap }: DeadLetter) => ({ kind, seq, projectId, runId, gap });

/** Throws `INVALID_INPUT` for a position beyond the next event. */
export function positionBefore(fromSeq: number, { head }: Pick<Log, 'head'>): number {
  if (fromSeq <= head + 1) return fromSeq - 1;
  throw new RunwireError('INVALID_INPUT', 'fromSeq: is beyond the end of the log', { path: 'fromSeq' });
}
