import { createTRPCClient } from '@trpc/client';
import type { AppRouter } from '../../server/api/router.ts';
import { type Connection, type ConnectionOptions, createConnection } from '../connection/connection.ts';
import type { TokenSource } from '../connection/token-cache.ts';
import { FeedCache } from '../feeds/feed-cache.ts';
import type { RunwireClient } from '../index.ts';

export type SessionOptions = {
  /** `https://host`, or the WebSocket's own address, `wss://host/ws`; default the page's own host. */
  url?: string | undefined;
  /** A token, or a function that fetches one whenever it is needed anew; default the browser's cookie. */
  token?: TokenSource | undefined;
} & Pick<ConnectionOptions, 'maxReconnectAttempts' | 'reconnectDelayMs'>;

let lastId = 0;

/** What a provider holds: one connection, and the one client that may use it. Making one does nothing yet. */
export class Session {
  readonly id = ++lastId;
  readonly client: RunwireClient;
  readonly connection: Connection<AppRouter>;
  readonly feeds: FeedCache;
  /** Where the next token comes from: a provider's function may be another one at each render. */
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

  /** Whether its connection is closed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether the options are those it was made of; where the token comes from may change. */
  isFor(options: SessionOptions): boolean {
    return this.#key === keyOf(options);
  }

  /** Keeps the connection until the function returned is called. StrictMode lets go and takes hold within one task. */
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
  // As text, since JSON has no Infinity.
  JSON.stringify([url, token === undefined, String(maxReconnectAttempts), reconnectDelayMs]);
