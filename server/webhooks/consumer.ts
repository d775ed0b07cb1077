import { setTimeout as delay } from 'node:timers/promises';
import type { DeadLetter, PauseReason, WebhookGap } from '../../shared/webhooks.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { DeliveryKey, LoadedWebhook, WebhookRecord, WebhookStore } from '../event-log/contract/webhooks.ts';
import type { WebhookMatcher } from './filter.ts';
import type { Built } from './messages.ts';
import { WebhookProgress } from './progress.ts';
import { type Delivery, DeliveryQueue } from './queue.ts';
import { ReceiverState } from './receiver.ts';
import { backoffMs, isGivenUp, isRefusal, type RetryOptions } from './retries.ts';
import { type Answer, MAX_CONNECTIONS, secretsOf, type WebhookSender } from './sender.ts';
import type { WebhookSource } from './source.ts';

/** Deliveries that wait, of one webhook: their positions and runs are in memory, not their events. */
export const MAX_PENDING = 10_000;
export const MAX_DEAD_LETTERS = 1_000;
/** Time after which a failed read of the log is repeated. */
const READ_RETRY_MS = 1_000;
/** A position that moves over events that are not sent is written this late. */
const IDLE_WRITE_MS = 1_000;
/** Time that deliveries in flight get when the server closes. */
const CLOSE_MS = 1_500;

export type ConsumerParts = {
  log: Log;
  store: Pick<WebhookStore, 'advance'>;
  source: WebhookSource;
  sender: WebhookSender;
  retries: RetryOptions;
  matcherOf: (record: WebhookRecord) => WebhookMatcher;
  onFailedTry: (message: Built, answer: Answer) => void;
  /** Called when the webhook must pause. */
  onPaused: (webhookId: string, reason: PauseReason) => void;
  onError: (error: unknown) => void;
  /** Redacts the text of an answer, which may quote an event. */
  redact: (text: string) => string;
  counts: { sent: number; failed: number; deadLetters: number };
};

/** A delivery that begins: an event, or with `gap` the message of a gap. */
type Begun = DeliveryKey & Pick<Delivery, 'projectId' | 'runId' | 'gap'>;
const begun = (key: Begun): Delivery => ({ ...key, tries: 0, refusals: 0, isStored: false, isDone: false });

/**
 * One webhook: a durable reader of the log.
 *
 * 1. `#scan` reads the log after `#scannedTo`, and puts matching events into the queue, up to a bound.
 * 2. `#pump` sends the first delivery of each run, several at once; while every try fails, one at a time.
 * 3. The outcome of a try is written before the next delivery of its run: a crash repeats only what is in flight.
 */
export class WebhookConsumer {
  readonly #parts: ConsumerParts;
  readonly #queue = new DeliveryQueue();
  readonly #progress: WebhookProgress;
  readonly #receiver: ReceiverState;
  readonly #inFlight = new Map<Delivery, Promise<void>>();
  /** Deliveries with a failed try. */
  readonly #retrying = new Set<Delivery>();
  readonly #closing = new AbortController();
  #record: WebhookRecord;
  #matcher: WebhookMatcher;
  #scannedTo: number;
  #lastSuccessAt: string | undefined;
  #gap: WebhookGap | undefined;
  #oldest: number;
  #deadLetters: number;
  #isScanning = false;
  #isStopped = false;
  #timer: NodeJS.Timeout | undefined;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(parts: ConsumerParts, { record, position, pending, deadLetters }: LoadedWebhook) {
    this.#parts = parts;
    this.#record = record;
    this.#matcher = parts.matcherOf(record);
    this.#receiver = new ReceiverState(parts.retries);
    this.#lastSuccessAt = position.lastSuccessAt;
    this.#gap = position.gap;
    this.#deadLetters = deadLetters;
    this.#oldest = 0;
    const { log, store, onError } = parts;
    this.#progress = new WebhookProgress({ id: record.id, store, onFailure: onError }, position);
    for (const each of pending) {
      const delivery = { ...each, isStored: true, isDone: false };
      this.#queue.add(delivery);
      if (delivery.tries > 0) this.#retrying.add(delivery);
    }
    this.#scannedTo = Math.min(position.scannedTo, log.head);
    // The file has the position and the events of one moment, so the position holds in a restored log too.
    if (position.epoch !== log.epoch) this.#report({ reason: 'epoch_changed', fromSeq: 1, toSeq: log.head });
  }

  get record(): WebhookRecord {
    return this.#record;
  }
  get pending(): number {
    return this.#queue.size;
  }

  status() {
    let position = this.#scannedTo;
    for (const { kind, seq } of this.#queue.values()) if (kind === 'event') position = Math.min(position, seq - 1);
    const retries = this.#retrying.size;
    const sinceMs = Math.min(...[...this.#retrying].map(({ firstTryMs = 0 }) => firstTryMs));
    const dueMs = Math.min(...[...this.#retrying].map(({ nextTryMs = 0 }) => nextTryMs));
    return {
      position,
      retries,
      waiting: this.#queue.size,
      nextTryAt: retries > 0 ? instantOf(Math.max(Date.now(), this.#receiver.retryMs(dueMs))) : undefined,
      isFailing: this.#receiver.isFailing,
      retryingSince: retries > 0 ? instantOf(sinceMs) : undefined,
      failure: retries > 0 ? (this.#receiver.lastFailure ?? [...this.#retrying][0]?.failure) : undefined,
      lastSuccessAt: this.#lastSuccessAt,
      deadLetters: this.#deadLetters,
      gap: this.#gap,
    };
  }

  /** Continues: the log has grown or was trimmed, or the settings have changed. */
  wake(): void {
    if (this.#isStopped) return;
    if (this.#parts.log.oldest !== this.#oldest) this.#dropTrimmed();
    void this.#scan();
    this.#pump();
  }

  /** Takes new settings. Deliveries that wait are sent by them. */
  update(record: WebhookRecord): void {
    const isResumed = this.#record.pausedFor !== undefined && record.pausedFor === undefined;
    const hasMoved = record.settings.url !== this.#record.settings.url;
    this.#record = record;
    this.#matcher = this.#parts.matcherOf(record);
    if (isResumed || hasMoved) this.#beginAfresh();
    this.wake();
  }

  /** Tries all failed deliveries now. */
  tryNow(): void {
    this.#beginAfresh();
    this.wake();
  }

  /** Sends the events after a position again. */
  async replay(position: number): Promise<void> {
    this.#remove(({ kind, seq }) => kind === 'event' && seq > position);
    this.#scannedTo = position;
    this.#progress.rewound(position);
    await this.write();
    this.wake();
  }

  /** Sends messages again. Those that are dead letters leave their list. */
  async requeue(messages: readonly Begun[], { areDead }: { areDead: boolean }): Promise<void> {
    for (const message of messages) {
      const delivery = begun(message);
      if (this.#queue.add(delivery)) this.#progress.changed(delivery);
    }
    if (areDead) this.revive(messages);
    await this.write();
    this.wake();
  }

  /** Removes dead letters from their list, with the next write. */
  revive(keys: readonly DeliveryKey[]): void {
    this.#progress.revived(keys);
    this.#deadLetters = Math.max(0, this.#deadLetters - keys.length);
  }

  /** Resolves once the present state is written. */
  write(): Promise<void> {
    return this.#progress.write(() => ({
      position: {
        epoch: this.#parts.log.epoch,
        scannedTo: this.#scannedTo,
        lastSuccessAt: this.#lastSuccessAt,
        gap: this.#gap,
      },
      isEmpty: this.#queue.size === 0,
    }));
  }

  /** Waits a short time for the deliveries in flight, ends the others, and writes the outcome. */
  async close(): Promise<void> {
    this.#stop();
    const flights = Promise.allSettled(this.#inFlight.values());
    await Promise.race([flights, delay(CLOSE_MS, undefined, { ref: false })]);
    this.#closing.abort();
    this.#progress.close();
    await flights;
    await this.write();
  }

  /** Ends at once, and writes nothing more: the webhook was removed, or another server sends it now. */
  abandon(): void {
    this.#stop();
    this.#closing.abort();
    this.#progress.abandon();
  }

  #stop(): void {
    this.#isStopped = true;
    for (const timer of [this.#timer, this.#idleTimer]) clearTimeout(timer);
  }

  get #isRunning(): boolean {
    return !this.#isStopped && this.#record.pausedFor === undefined;
  }

  #beginAfresh(): void {
    this.#receiver.reset();
    for (const delivery of this.#retrying) {
      Object.assign(delivery, { tries: 0, refusals: 0, firstTryMs: undefined, lastTryMs: undefined });
    }
    this.#retrying.clear();
    this.#queue.hasten();
  }

  #remove(test: (delivery: Delivery) => boolean): Delivery[] {
    const removed = this.#queue.removeWhere(test, this.#inFlight);
    for (const delivery of removed) this.#done(delivery);
    return removed;
  }

  #done(delivery: Delivery, letter?: DeadLetter): void {
    delivery.isDone = true;
    this.#retrying.delete(delivery);
    this.#progress.done(delivery, letter);
  }

  /** Puts a message about events that cannot be sent into the queue. */
  #report(about: Omit<WebhookGap, 'at'>): void {
    const gap = { ...about, at: new Date().toISOString() };
    const delivery = begun({ kind: 'gap', seq: gap.toSeq, projectId: '', runId: '', gap });
    this.#gap = gap;
    if (this.#queue.add(delivery)) this.#progress.changed(delivery);
  }

  /** Retention has removed events: those that wait cannot be sent any more. */
  #dropTrimmed(oldest = this.#parts.log.oldest): void {
    this.#oldest = oldest;
    const gone = this.#remove(({ kind, seq }) => kind === 'event' && seq < oldest);
    const isBehind = this.#scannedTo + 1 < oldest;
    if (gone.length === 0 && !isBehind) return;
    const fromSeq = Math.min(...gone.map(({ seq }) => seq), this.#scannedTo + 1);
    if (isBehind) this.#scannedTo = oldest - 1;
    this.#report({ reason: 'expired', fromSeq, toSeq: oldest - 1 });
    void this.write();
  }

  async #scan(): Promise<void> {
    if (this.#isScanning) return;
    this.#isScanning = true;
    const { log, source, onError } = this.#parts;
    try {
      while (this.#isRunning && this.#queue.size < MAX_PENDING && this.#scannedTo < log.head) {
        if (this.#scannedTo + 1 < log.oldest) this.#dropTrimmed();
        const from = this.#scannedTo;
        const matcher = this.#matcher;
        const page = await source.read(this.#record.id, matcher, from);
        // A replay or new settings have come meanwhile.
        if (this.#scannedTo !== from || this.#matcher !== matcher) continue;
        // A trim has removed a part of what was read.
        if (from + 1 < page.oldest) {
          this.#dropTrimmed(page.oldest);
          continue;
        }
        for (const { seq, projectId, runId } of page.records) {
          const delivery = begun({ kind: 'event', seq, projectId, runId });
          if (this.#queue.add(delivery)) this.#progress.found(delivery);
        }
        this.#scannedTo = page.scannedTo;
        this.#pump();
      }
      if (this.#queue.size === 0) this.#writeWhenIdle();
    } catch (error) {
      if (!this.#isStopped) {
        onError(error);
        setTimeout(() => this.wake(), READ_RETRY_MS).unref();
      }
    } finally {
      this.#isScanning = false;
    }
  }

  /** Starts the deliveries that may go now, and sets the timer for the next. */
  #pump(): void {
    clearTimeout(this.#timer);
    if (!this.#isRunning) return;
    const nowMs = Date.now();
    for (;;) {
      if (this.#inFlight.size >= (this.#receiver.isFailing ? 1 : MAX_CONNECTIONS)) return;
      const delivery = this.#take(nowMs);
      if (!delivery) break;
      this.#inFlight.set(delivery, this.#deliver(delivery));
    }
    const nextMs = this.#receiver.nextMs(nowMs, this.#queue.nextMs);
    if (this.#queue.size === this.#inFlight.size || nextMs === undefined) return;
    // The bound matters if the system clock was set back.
    const waitMs = Math.min(Math.max(1, nextMs - nowMs), this.#parts.retries.maxRetryAfterMs);
    this.#timer = setTimeout(() => this.#pump(), waitMs).unref();
  }

  #take(nowMs: number): Delivery | undefined {
    const which = this.#receiver.allowsAt(nowMs);
    if (which === undefined) return undefined;
    return which === 'due' ? this.#queue.take(nowMs) : this.#queue.takeLeastTried({ onlyNew: which === 'new' });
  }

  async #deliver(delivery: Delivery): Promise<void> {
    const { sender, source, onError } = this.#parts;
    const { signal } = this.#closing;
    try {
      await source.turn(this.#record.id);
      const record = this.#record;
      const message = await source.build(record, this.#matcher, delivery);
      if (message === 'gone') this.#done(delivery);
      else {
        const secrets = secretsOf(record, Date.now());
        const answer = await sender.send({ ...message, url: record.settings.url, secrets }, signal);
        if (answer.failure === undefined || !signal.aborted) this.#settle(delivery, message, answer);
      }
    } catch (error) {
      if (!this.#isStopped) onError(error);
      delivery.nextTryMs = Date.now() + READ_RETRY_MS;
    }
    // The next delivery of this run, and the next of this webhook, wait for the outcome to be written.
    await this.write();
    this.#inFlight.delete(delivery);
    const again = this.#queue.settle(delivery);
    if (again) this.#progress.changed(again);
    this.wake();
  }

  #settle(delivery: Delivery, message: Built, answer: Answer): void {
    const { counts, onFailedTry, redact } = this.#parts;
    const nowMs = Date.now();
    const { body: _, ...about } = message;
    const { status, failure, ms } = answer;
    this.#progress.tried({
      ...about,
      at: instantOf(nowMs - ms),
      attempt: delivery.tries + 1,
      ms,
      ...(status === undefined ? {} : { status }),
      ...(failure === undefined ? {} : { failure }),
      answer: answer.answer && redact(answer.answer),
    });
    if (failure !== undefined) {
      counts.failed++;
      onFailedTry(message, answer);
      this.#failed(delivery, about, { ...answer, failure }, nowMs);
      return;
    }
    counts.sent++;
    this.#lastSuccessAt = instantOf(nowMs);
    this.#done(delivery);
    // A message that was refused before is taken: the receiver was at fault, not the message.
    if (this.#receiver.isFailing || delivery.refusals > 0) this.#queue.hasten();
    this.#receiver.succeeded();
  }

  #failed(
    delivery: Delivery,
    about: Omit<Built, 'body'>,
    answer: Answer & Required<Pick<Answer, 'failure'>>,
    nowMs: number,
  ): void {
    const { retries, counts, onPaused } = this.#parts;
    const { status, failure: reason, ms } = answer;
    const failure = { reason, ...(status === undefined ? {} : { status }) };
    const waitMs = this.#receiver.failed(failure, answer, nowMs);
    const { firstTryMs = nowMs - ms } = delivery;
    Object.assign(delivery, { tries: delivery.tries + 1, firstTryMs, lastTryMs: nowMs, failure });
    if (isRefusal(answer)) delivery.refusals++;
    if (status === 410) onPaused(this.#record.id, 'gone');
    else if (isGivenUp(delivery, nowMs, retries)) {
      const times = { firstTryAt: instantOf(firstTryMs), lastTryAt: instantOf(nowMs) };
      const gap = delivery.gap && { gap: delivery.gap };
      this.#done(delivery, { ...about, ...gap, ...failure, tries: delivery.tries, ...times });
      counts.deadLetters++;
      this.#deadLetters++;
      if (this.#deadLetters >= MAX_DEAD_LETTERS) onPaused(this.#record.id, 'dead_letters');
      return;
    }
    delivery.nextTryMs = nowMs + Math.max(waitMs, backoffMs(delivery.tries, retries, retries.maxMs));
    this.#retrying.add(delivery);
    this.#progress.changed(delivery);
  }

  #writeWhenIdle(): void {
    if (this.#idleTimer || this.#isStopped || this.#progress.stored.scannedTo === this.#scannedTo) return;
    this.#idleTimer = setTimeout(() => {
      this.#idleTimer = undefined;
      void this.write();
    }, IDLE_WRITE_MS).unref();
  }
}

const instantOf = (ms: number): string => new Date(ms).toISOString();
