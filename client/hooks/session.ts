import { createTRPCClient } from '@trpc/client';
import type { AppRouter } from '../../shared/router.ts';
import { type Connection, type ConnectionOptions, createConnection } from '../connection/connection.ts';
import type { TokenSource } from '../connection/token-cache.ts';
import { FeedCache } from '../feeds/feed-cache.ts';
import type { RunwireClient } from '../index.ts';

export type SessionOptions = {
  /** URL of the server (`https://host[/prefix]`) or its WebSocket (`wss://host[/prefix]/ws`); default the page's origin. */
  url?: string | undefined;
  /**
   * A token, or a function that fetches one. The function is called again when its token is refused or about to expire.
   * Default: none; the browser's cookie then authenticates the user.
   */
  token?: TokenSource | undefined;
} & Pick<ConnectionOptions, 'maxReconnectAttempts' | 'reconnectDelayMs'>;

let lastId = 0;

/** The connection of a `RunwireProvider`, with its client and its feeds. The first use opens the connection. */
export class Session {
  readonly id = ++lastId;
  readonly client: RunwireClient;
  readonly connection: Connection<AppRouter>;
  readonly feeds: FeedCache;
  /** Replaced at each render, because each render of the provider may pass a new function. */
  token: TokenSource | undefined;
  readonly #key: string;
  #holders = 0;
  #isOver = false;

  constructor(options: SessionOptions) {
    const { url = location.origin, token, maxReconnectAttempts, reconnectDelayMs } = options;
    this.#key = keyOf(options);
    this.token = token;
    const latest = () => (typeof this.token === 'function' ? this.token() : this.token);
    this.connection = createConnection<AppRouter>({
      url,
      token: token === undefined ? undefined : latest,
      maxReconnectAttempts,
      reconnectDelayMs,
    });
    this.client = createTRPCClient<AppRouter>({ links: this.connection.links });
    this.feeds = new FeedCache(this.client, this.connection);
  }

  /** True once the connection is closed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** True if the options need no new session. A session also works with another token or another token function. */
  isFor(options: SessionOptions): boolean {
    return this.#key === keyOf(options);
  }

  /**
   * Keeps the connection open until the returned function is called. The connection closes in a microtask, because React's
   * StrictMode releases a session and holds it again in one task.
   */
  hold(): () => void {
    this.#holders++;
    return () => {
      this.#holders--;
      queueMicrotask(() => {
        if (this.#holders > 0 || this.#isOver) return;
        this.#isOver = true;
        void this.connection.close();
      });
    };
  }
}

const keyOf = ({ url, token, maxReconnectAttempts, reconnectDelayMs }: SessionOptions): string =>
  // JSON has no `Infinity`, so the number is converted to text first.
  JSON.stringify([url, token === undefined, String(maxReconnectAttempts), reconnectDelayMs]);
