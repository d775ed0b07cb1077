import type { Lease, Nodes } from '../event-log/contract/nodes.ts';
import type { Peers } from '../peers.ts';
import { Webhooks, type WebhooksOptions } from './webhooks.ts';

/**
 * The webhooks of a log that several servers may share. The server with the lease sends, and does what changes a webhook or
 * depends on what waits. The others pass such calls on to it, and read the rest from the store.
 *
 * 1. Without the lease: a view of the stored webhooks, loaded again when one has changed.
 * 2. With the lease: the webhooks are loaded, and begin to send.
 * 3. The lease is lost: sending ends at once, and nothing more is written. The deliveries in flight are repeated by the next
 *    server, under their ids.
 */

/** Time for another server to answer, and for a server to take the lease. */
const CALL_TIMEOUT_MS = 20_000;
const RETRY_MS = 1_000;

const CALLS = ['list', 'get', 'create', 'update', 'remove', 'pause', 'resume', 'rotateSecret'] as const;
const DELIVERY_CALLS = ['redeliver', 'drop', 'replay'] as const;
type Method = (typeof CALLS)[number] | (typeof DELIVERY_CALLS)[number];
type Call = { method: Method; args: readonly unknown[] };

/** What administrators call. */
export type WebhookCalls = Pick<Webhooks, (typeof CALLS)[number] | 'test'> & {
  readonly deliveries: Pick<
    Webhooks['deliveries'],
    (typeof DELIVERY_CALLS)[number] | 'list' | 'get' | 'deadLetters' | 'preview'
  >;
};

export type SharedWebhooksOptions = Omit<WebhooksOptions, 'counts'> & {
  log: WebhooksOptions['log'] & { nodes: Pick<Nodes, 'lease'> };
  peers: Pick<Peers, 'handle' | 'callOne'>;
};

export class SharedWebhooks {
  readonly counts = { sent: 0, failed: 0, deadLetters: 0 };
  readonly calls: WebhookCalls;
  readonly #options: SharedWebhooksOptions;
  readonly #lease: Lease;
  readonly #stops: (() => void)[];
  #active: Webhooks | undefined;
  #view: Webhooks | undefined;
  /** Number of loads of the view that have begun, and the one that gave the present view. */
  #loads = 0;
  #viewOf = 0;
  /** Increases whenever the lease changes hands. */
  #turn = 0;
  #activating: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** Resolves once the stored webhooks are known. A server that gets the lease at once then sends already. */
  static async open(options: SharedWebhooksOptions): Promise<SharedWebhooks> {
    const webhooks = new SharedWebhooks(options);
    await new Promise(setImmediate);
    if (webhooks.#lease.isHeld) await webhooks.#activating;
    else await webhooks.#loadView();
    return webhooks;
  }

  private constructor(options: SharedWebhooksOptions) {
    this.#options = options;
    const { log, peers } = options;
    this.calls = this.#makeCalls();
    peers.handle('webhooks', (call: Call) => this.#answer(call));
    this.#lease = log.nodes.lease('webhooks', (isHeld) => {
      this.#turn++;
      this.#leave();
      if (isHeld) this.#begin(this.#turn);
      else this.#refreshView();
    });
    this.#stops = [
      // Not awaited: the node would not be current until all that waits is read.
      log.webhooks.onChange(() => {
        if (!this.#active) this.#refreshView();
      }),
      // The positions are of another history: each webhook reports a gap.
      log.onEpoch(() => {
        if (!this.#active) return;
        this.#leave();
        this.#begin(++this.#turn);
      }),
    ];
  }

  committed(): void {
    this.#active?.committed();
  }

  get count(): number {
    return (this.#active ?? this.#view)?.count ?? 0;
  }
  /** On the server that sends. */
  get pending(): number {
    return this.#active?.pending ?? 0;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#turn++;
    for (const stop of this.#stops) stop();
    await this.#activating.catch(() => undefined);
    await this.#active?.close();
    await this.#view?.close();
    await this.#lease.release();
  }

  #begin(turn: number): void {
    this.#activating = this.#activate(turn);
    this.#activating.catch((err) => {
      this.#options.health.note('cannot load the webhooks; will retry', { err });
      setTimeout(() => {
        if (turn === this.#turn && !this.#isClosed) this.#begin(turn);
      }, RETRY_MS).unref();
    });
  }

  async #activate(turn: number): Promise<void> {
    const webhooks = await Webhooks.open({ ...this.#options, counts: this.counts }, { isSending: true });
    if (turn !== this.#turn) {
      webhooks.abandon();
      return;
    }
    this.#active = webhooks;
    webhooks.start();
  }

  /** Ends sending at once. */
  #leave(): void {
    this.#active?.abandon();
    this.#active = undefined;
  }

  /** Without a view, the next call loads it. */
  #refreshView(): void {
    this.#loadView().catch((err) => {
      this.#view = undefined;
      if (!this.#isClosed) this.#options.health.note('cannot load the webhooks; the next call tries again', { err });
    });
  }

  async #loadView(): Promise<Webhooks> {
    const load = ++this.#loads;
    const view = await Webhooks.open({ ...this.#options, counts: this.counts });
    // A later load has newer rows.
    if (this.#isClosed || load < this.#viewOf) return view;
    this.#viewOf = load;
    void this.#view?.close();
    this.#view = view;
    return view;
  }

  /** The webhooks for calls that only read the store. */
  async #known(): Promise<Webhooks> {
    return this.#active ?? this.#view ?? (await this.#loadView());
  }

  /** Answers a call of another server; undefined if this one does not send. */
  #answer(call: Call): Promise<unknown> | undefined {
    if (!this.#active) return undefined;
    const result = perform(this.#active, call);
    // A secret is in no message: the other server reads it from the store.
    return result.then((value) => (isWithSecret(value) ? { ...value, secret: undefined } : (value ?? null)));
  }

  async #call(method: Method, args: readonly unknown[]): Promise<unknown> {
    if (this.#active) return perform(this.#active, { method, args });
    const { peers } = this.#options;
    const value = await peers.callOne<unknown>(
      'webhooks',
      { method, args } satisfies Call,
      CALL_TIMEOUT_MS,
      () => true,
    );
    if (method === 'list' || method === 'get') return value;
    const view = await this.#loadView();
    if (method === 'create') {
      const { webhook } = value as Awaited<ReturnType<Webhooks['create']>>;
      return { webhook, secret: view.newestSecretOf(webhook.id) };
    }
    return method === 'rotateSecret' ? { ...(value as object), secret: view.newestSecretOf(args[1] as string) } : value;
  }

  #makeCalls(): WebhookCalls {
    const pass = <Name extends Method>(names: readonly Name[]) =>
      Object.fromEntries(names.map((name) => [name, (...args: unknown[]) => this.#call(name, args)]));
    const deliveries = {
      ...pass(DELIVERY_CALLS),
      list: async (...args) => (await this.#known()).deliveries.list(...args),
      get: async (...args) => (await this.#known()).deliveries.get(...args),
      deadLetters: async (...args) => (await this.#known()).deliveries.deadLetters(...args),
      preview: async (...args) => (await this.#known()).deliveries.preview(...args),
    } as WebhookCalls['deliveries'];
    return {
      ...pass(CALLS),
      test: async (...args) => (await this.#known()).test(...args),
      deliveries,
    } as WebhookCalls;
  }
}

const isDeliveryCall = (method: Method): method is (typeof DELIVERY_CALLS)[number] =>
  (DELIVERY_CALLS as readonly string[]).includes(method);

type Performer = Record<Method, (...args: readonly unknown[]) => Promise<unknown>>;

function perform(webhooks: Webhooks, { method, args }: Call): Promise<unknown> {
  const target = (isDeliveryCall(method) ? webhooks.deliveries : webhooks) as unknown as Performer;
  return target[method](...args);
}

const isWithSecret = (value: unknown): value is { secret: string } =>
  typeof value === 'object' && value !== null && 'secret' in value;
