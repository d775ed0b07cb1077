import { randomBytes, randomUUID } from 'node:crypto';
import { RunwireError } from '../../shared/errors.ts';
import type {
  PauseReason,
  Webhook,
  WebhookSettings,
  WebhookShape,
  WebhookSummary,
  WebhookTestResult,
} from '../../shared/webhooks.ts';
import { requirePermission } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { WebhookRecord } from '../event-log/contract/webhooks.ts';
import { hasReached } from '../event-log/current.ts';
import type { Health } from '../health.ts';
import { Turns } from '../slices.ts';
import type { WebhookAddresses } from './addresses.ts';
import { type ConsumerParts, WebhookConsumer } from './consumer.ts';
import { positionBefore, WebhookDeliveries } from './deliveries.ts';
import { mayManage, requireProjects, WebhookMatcher } from './filter.ts';
import { type Built, WebhookMessages } from './messages.ts';
import { defaultRetries, type RetryOptions } from './retries.ts';
import { type Answer, secretsOf, WebhookSender } from './sender.ts';
import { type RecentEvents, WebhookSource } from './source.ts';

export const MAX_WEBHOOKS = 50;
/** How long a replaced secret still signs. */
const ROTATION_MS = 24 * 3_600_000;
const MAX_SECRETS = 5;

export type WebhooksOptions = {
  log: Log & Pick<EventLog, 'runs' | 'webhooks'>;
  recent: RecentEvents;
  /** The event types of a category. */
  typesOf: (category: string) => readonly string[];
  addresses: WebhookAddresses;
  proxyOf?: ((url: string) => string | undefined) | undefined;
  publicUrl?: string | undefined;
  health: Pick<Health, 'note'>;
  /** Redacts a text of a receiver. */
  redact: (text: string) => string;
  /** Checks a text of a user; returns what is kept of it, or throws. */
  guardText: (field: string, text: string) => string;
  /** Called after each failed try, for the access record. */
  onFailedTry: (message: Built, answer: Answer) => void;
  retries?: Partial<RetryOptions> | undefined;
  /** Counts since the server started. */
  counts: ConsumerParts['counts'];
};

type Changes = { [Name in keyof WebhookSettings]?: WebhookSettings[Name] | undefined };

/** The stored webhooks: what administrators may do with them, and their deliveries. docs/guide/webhooks.md. */
export class Webhooks {
  readonly #options: WebhooksOptions;
  readonly #parts: ConsumerParts;
  readonly #messages: WebhookMessages;
  readonly #consumers = new Map<string, WebhookConsumer>();
  readonly deliveries: WebhookDeliveries;
  #changing: Promise<unknown> = Promise.resolve();
  #isStarted = false;

  private constructor(options: WebhooksOptions) {
    this.#options = options;
    const { log, recent, health, addresses, proxyOf, redact, onFailedTry } = options;
    const retries = { ...defaultRetries, ...options.retries };
    this.#messages = new WebhookMessages(options.publicUrl);
    this.#parts = {
      log,
      store: log.webhooks,
      source: new WebhookSource({ log, recent, messages: this.#messages, turns: new Turns() }),
      sender: new WebhookSender({ addresses, proxyOf, timeoutMs: retries.timeoutMs }),
      retries,
      matcherOf: ({ settings }) => new WebhookMatcher(settings.filter, options.typesOf),
      redact,
      onFailedTry,
      onPaused: (id, reason) => this.#pauseItself(id, reason),
      onError: (err) => health.note('a webhook cannot read or write the log; will retry', { err }),
      counts: options.counts,
    };
    this.deliveries = new WebhookDeliveries({ ...options, parts: this.#parts, find: this.#find });
  }

  /** Loads the webhooks. With `isSending`, they may begin to send with {@link start}. */
  static async open(options: WebhooksOptions, { isSending = false } = {}): Promise<Webhooks> {
    const webhooks = new Webhooks(options);
    const { log } = options;
    for (const loaded of await log.webhooks.load()) {
      const { epoch, scannedTo } = loaded.position;
      // Another node may have scanned what this one does not have yet, and it must not be sent again.
      if (isSending && epoch === log.epoch) await hasReached(log, scannedTo);
      webhooks.#consumers.set(loaded.record.id, new WebhookConsumer(webhooks.#parts, loaded));
    }
    return webhooks;
  }

  start(): void {
    this.#isStarted = true;
    this.committed();
  }

  /** Called after each commit of the log. */
  committed(): void {
    if (!this.#isStarted) return;
    for (const consumer of this.#consumers.values()) consumer.wake();
  }

  get count(): number {
    return this.#consumers.size;
  }
  get pending(): number {
    let count = 0;
    for (const { pending } of this.#consumers.values()) count += pending;
    return count;
  }

  async close(): Promise<void> {
    const isStarted = this.#isStarted;
    this.#isStarted = false;
    if (isStarted) await Promise.all([...this.#consumers.values()].map((consumer) => consumer.close()));
    await this.#parts.sender.close();
  }

  /** Ends at once, and writes nothing more: another server sends now. */
  abandon(): void {
    this.#isStarted = false;
    for (const consumer of this.#consumers.values()) consumer.abandon();
    void this.#parts.sender.close();
  }

  /** Returns the secret that signs now. */
  newestSecretOf(id: string): string {
    return this.#consumers.get(id)?.record.secrets[0]?.secret ?? '';
  }

  async list(principal: Principal): Promise<WebhookSummary[]> {
    requirePermission(principal, 'webhooks');
    const visible = [...this.#consumers.values()].filter(({ record }) => mayManage(principal, record.settings.filter));
    const summaries: WebhookSummary[] = [];
    for (const consumer of visible) {
      await this.#parts.source.turn(consumer.record.id); // A summary looks at each delivery that waits.
      summaries.push(await this.#summaryOf(consumer));
    }
    return summaries;
  }

  async get(principal: Principal, id: string): Promise<Webhook> {
    return this.#viewOf(this.#find(principal, id));
  }

  /** Creates a webhook. `secret` is not shown again. */
  async create(
    principal: Principal,
    { fromSeq, ...settings }: WebhookSettings & { fromSeq?: number | undefined },
  ): Promise<{ webhook: Webhook; secret: string }> {
    const checked = this.#checkSettings(principal, settings);
    return this.#inTurn(() => this.#create(principal, checked, fromSeq));
  }

  async #create(
    { sub: createdBy }: Principal,
    settings: WebhookSettings,
    fromSeq: number | undefined,
  ): Promise<{ webhook: Webhook; secret: string }> {
    if (this.#consumers.size >= MAX_WEBHOOKS) {
      throw new RunwireError('TOO_LARGE', `a server has at most ${MAX_WEBHOOKS} webhooks`);
    }
    const { log } = this.#options;
    const secret = newSecret();
    const now = new Date().toISOString();
    const record: WebhookRecord = {
      id: `wh_${randomUUID().replaceAll('-', '')}`,
      settings,
      createdAt: now,
      createdBy,
      updatedAt: now,
      secrets: [{ secret, createdAt: now }],
    };
    const position = { epoch: log.epoch, scannedTo: fromSeq === undefined ? log.head : positionBefore(fromSeq, log) };
    await log.webhooks.put(record, position);
    const consumer = new WebhookConsumer(this.#parts, { record, position, pending: [], deadLetters: 0 });
    this.#consumers.set(record.id, consumer);
    consumer.wake();
    return { webhook: await this.#viewOf(consumer), secret };
  }

  async update(principal: Principal, id: string, changes: Changes): Promise<Webhook> {
    return this.#change(principal, id, ({ settings: { name, url, shape, filter } }) => {
      const settings = this.#checkSettings(principal, {
        name: changes.name ?? name,
        url: changes.url ?? url,
        shape: changes.shape ?? shape,
        filter: changes.filter ?? filter,
      });
      return { settings, updatedAt: new Date().toISOString() };
    });
  }

  async remove(principal: Principal, id: string): Promise<void> {
    const consumer = this.#find(principal, id);
    this.#consumers.delete(id);
    consumer.abandon();
    await this.#options.log.webhooks.remove(id);
  }

  async pause(principal: Principal, id: string): Promise<Webhook> {
    return this.#change(principal, id, () => ({ pausedFor: 'asked' }));
  }

  /** Continues a paused webhook. Failed deliveries begin afresh, also of one that is not paused: they are tried now. */
  async resume(principal: Principal, id: string): Promise<Webhook> {
    const consumer = this.#find(principal, id);
    if (consumer.record.pausedFor === undefined) consumer.tryNow();
    return this.#change(principal, id, () => ({ pausedFor: undefined }));
  }

  /** Makes a new secret, and returns it. The present one signs too for 24 h. */
  async rotateSecret(principal: Principal, id: string): Promise<{ secret: string; validUntil: string }> {
    const nowMs = Date.now();
    const createdAt = new Date(nowMs).toISOString();
    const validUntil = new Date(nowMs + ROTATION_MS).toISOString();
    const secret = newSecret();
    await this.#change(principal, id, ({ secrets }) => {
      const valid = secrets.filter(({ validUntil: until }) => until === undefined || until > createdAt);
      if (valid.length >= MAX_SECRETS) {
        const message = `at most ${MAX_SECRETS} secrets are valid at a time: wait for the oldest`;
        throw new RunwireError('RATE_LIMITED', message);
      }
      const former = valid.map((each) => ({ ...each, validUntil: each.validUntil ?? validUntil }));
      return { secrets: [{ secret, createdAt }, ...former] };
    });
    return { secret, validUntil };
  }

  /** Sends a message of the type `webhook.test`: of a webhook, or of settings that are not saved yet. */
  async test(
    principal: Principal,
    target: { id: string } | { url: string; shape: WebhookShape },
  ): Promise<WebhookTestResult> {
    const settings = 'id' in target ? this.#find(principal, target.id).record : undefined;
    requirePermission(principal, 'webhooks');
    const { url, shape } = settings?.settings ?? (target as { url: string; shape: WebhookShape });
    this.#checkUrl(url);
    const id = settings?.id ?? 'preview';
    const message = this.#messages.ofTest({ id, shape }, settings?.settings.name ?? 'test');
    const secrets = settings ? secretsOf(settings, Date.now()) : [newSecret()];
    const answer = await this.#parts.sender.send({ ...message, url, secrets }, new AbortController().signal);
    const { retryAfterMs: _, ...result } = answer;
    return { ...result, answer: answer.answer && this.#options.redact(answer.answer) };
  }

  /** Throws `FORBIDDEN`, and `WEBHOOK_NOT_FOUND` also for a webhook with projects that the caller's token lacks. */
  readonly #find = (principal: Principal, id: string): WebhookConsumer => {
    requirePermission(principal, 'webhooks');
    const consumer = this.#consumers.get(id);
    if (!consumer || !mayManage(principal, consumer.record.settings.filter)) {
      throw new RunwireError('WEBHOOK_NOT_FOUND', 'no such webhook', { path: 'id' });
    }
    return consumer;
  };

  #checkUrl(url: string): void {
    const problem = this.#options.addresses.problemOf(url);
    if (problem !== undefined) throw new RunwireError('INVALID_INPUT', `url: ${problem}`, { path: 'url' });
  }

  #checkSettings(principal: Principal, settings: WebhookSettings): WebhookSettings {
    requireProjects(principal, settings.filter);
    this.#checkUrl(settings.url);
    return { ...settings, name: this.#options.guardText('name', settings.name) };
  }

  /** Changes the record that the change before has left. The rights are checked on it, since its filter may be another. */
  #change(
    principal: Principal,
    id: string,
    changesOf: (record: WebhookRecord) => Partial<WebhookRecord>,
  ): Promise<Webhook> {
    return this.#inTurn(async () => {
      const consumer = this.#find(principal, id);
      await this.#save(consumer, changesOf(consumer.record));
      return this.#viewOf(consumer);
    });
  }

  async #save(consumer: WebhookConsumer, changes: Partial<WebhookRecord>): Promise<void> {
    await this.#options.log.webhooks.put({ ...consumer.record, ...changes });
    consumer.update({ ...consumer.record, ...changes });
  }

  /** Runs one change after the other. */
  #inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const changed = this.#changing.then(change);
    this.#changing = changed.catch(() => undefined);
    return changed;
  }

  #pauseItself(id: string, pausedFor: PauseReason): void {
    const consumer = this.#consumers.get(id);
    if (!consumer || consumer.record.pausedFor !== undefined || !this.#isStarted) return;
    consumer.update({ ...consumer.record, pausedFor }); // At once: nothing more is sent.
    this.#inTurn(() => this.#save(consumer, { pausedFor })).catch(this.#parts.onError);
  }

  async #summaryOf(consumer: WebhookConsumer): Promise<WebhookSummary> {
    const { id, settings, pausedFor } = consumer.record;
    const { name, url, shape, filter } = settings;
    const { isFailing, position, lastSuccessAt, failure, gap, retryingSince, nextTryAt, ...status } = consumer.status();
    const { head } = this.#options.log;
    const behind = Math.max(0, head - position);
    const waiting = behind > 0 ? await this.#parts.source.eventAt(id, position + 1) : undefined;
    const running = isFailing ? 'failing' : status.retries > 0 ? 'retrying' : 'delivering';
    return {
      id,
      name,
      host: new URL(url).host,
      shape,
      filter,
      state: pausedFor === undefined ? running : 'paused',
      position,
      head,
      behind,
      ...status,
      ...(pausedFor === undefined ? {} : { pausedFor }),
      ...(retryingSince === undefined ? {} : { retryingSince }),
      ...(nextTryAt === undefined || pausedFor !== undefined ? {} : { nextTryAt }),
      ...(failure === undefined ? {} : { failure }),
      ...(lastSuccessAt === undefined ? {} : { lastSuccessAt }),
      ...(gap === undefined ? {} : { gap }),
      ...(waiting ? { oldestWaitingAt: (waiting.event as { recordedAt: string }).recordedAt } : {}),
    };
  }

  async #viewOf(consumer: WebhookConsumer): Promise<Webhook> {
    const { settings, createdAt, createdBy, updatedAt, secrets } = consumer.record;
    return {
      ...(await this.#summaryOf(consumer)),
      url: settings.url,
      createdAt,
      createdBy,
      updatedAt,
      secrets: secrets.map(({ createdAt: at, validUntil }) => ({
        createdAt: at,
        ...(validUntil === undefined ? {} : { validUntil }),
      })),
    };
  }
}

const newSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`;
