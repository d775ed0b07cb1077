import { createClient } from 'redis';
import { RunwireError } from '../../shared/errors.ts';
import { type Backplane, backoffMs } from '../event-log/postgres/backplane.ts';
import type { Health } from '../health.ts';

/**
 * The backplane over Redis: one connection publishes, one is subscribed. Nothing is stored in Redis, so a message of the
 * time of an outage is lost, and the nodes learn of it by their pulse.
 */

const MAX_BYTES = 1 << 20;
/** Bytes of the messages that Redis has not confirmed. Further ones are dropped. */
const MAX_UNCONFIRMED = 8 << 20;
const TIMEOUT_MS = 5_000;

type Client = ReturnType<typeof connectionTo>;

export class RedisBackplane implements Backplane {
  readonly maxBytes = MAX_BYTES;
  readonly #channel: string;
  /** The address without user and password, for the log. */
  readonly #path: string;
  readonly #health: Pick<Health, 'report'>;
  readonly #publisher: Client;
  readonly #subscriber: Client;
  #listener: (message: string) => void = () => undefined;
  #unconfirmed = 0;
  #isSubscribed = false;
  #isClosed = false;

  /** Connects in the background. `url`: `redis://` or `rediss://` (TLS), with user and password. Throws `INVALID_INPUT`. */
  constructor(url: string, channel: string, health: Pick<Health, 'report'>) {
    this.#channel = `runwire:${channel}`;
    this.#health = health;
    this.#publisher = connectionTo(url);
    this.#path = placeOf(url);
    this.#subscriber = connectionTo(url);
    for (const client of [this.#publisher, this.#subscriber]) {
      client.on('error', (err: unknown) => this.#report(err));
      client.on('ready', () => this.#report());
      client.connect().catch((err: unknown) => this.#report(err));
    }
    this.#subscriber.on('ready', () => void this.#subscribe());
  }

  get isConnected(): boolean {
    return this.#isSubscribed && this.#publisher.isReady && this.#subscriber.isReady;
  }

  receive(listener: (message: string) => void): void {
    this.#listener = listener;
  }

  send(message: string): void {
    const bytes = Buffer.byteLength(message);
    if (!this.isConnected || this.#unconfirmed + bytes > MAX_UNCONFIRMED) return;
    this.#unconfirmed += bytes;
    this.#publisher
      .publish(this.#channel, message)
      .catch((err: unknown) => this.#report(err))
      .finally(() => {
        this.#unconfirmed -= bytes;
      });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const client of [this.#publisher, this.#subscriber]) client.destroy();
  }

  /** Subscribes once: after each reconnect, the client does it again by itself. */
  async #subscribe(): Promise<void> {
    if (this.#isSubscribed) return;
    try {
      await this.#subscriber.subscribe(this.#channel, (message) => this.#listener(message));
      this.#isSubscribed = true;
      this.#report();
    } catch (err) {
      this.#report(err);
    }
  }

  #report(err?: unknown): void {
    if (this.#isClosed) return;
    const message = 'Redis carries no messages between the nodes: events of other nodes arrive up to 250 ms later';
    if (this.isConnected) this.#health.report('backplane', undefined);
    else if (err !== undefined) this.#health.report('backplane', { message, path: this.#path, err, isWarning: true });
  }
}

function placeOf(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}

function connectionTo(url: string) {
  try {
    return createClient({
      url,
      disableOfflineQueue: true,
      disableClientInfo: true,
      maintNotifications: 'disabled',
      pingInterval: TIMEOUT_MS,
      // A dead peer answers no ping, and the socket is silent.
      socket: { connectTimeout: TIMEOUT_MS, socketTimeout: 3 * TIMEOUT_MS, reconnectStrategy: backoffMs },
    });
  } catch {
    // The cause has the password.
    throw new RunwireError('INVALID_INPUT', 'REDIS_URL is no redis:// or rediss:// URL', { path: 'REDIS_URL' });
  }
}
