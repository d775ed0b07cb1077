import type { ConnectionOptions } from '../connection/connection.ts';
import { createRunwireClient, type Runwire } from '../connection/runwire.ts';
import { subjectOf, type TokenSource } from '../connection/token-cache.ts';

export type SessionOptions = Pick<
  ConnectionOptions,
  'url' | 'token' | 'identity' | 'maxReconnectAttempts' | 'reconnectDelayMs' | 'afterFailed'
>;

/** The client and connection that a `RunwireProvider` creates. The first use opens the connection. */
export class Session {
  readonly runwire: Runwire;
  readonly #key: string;
  #token: TokenSource | undefined;
  #holders = 0;
  #isOver = false;

  constructor(options: SessionOptions) {
    const { token, identity = subjectOf(token), ...others } = options;
    this.#key = keyOf(options);
    this.#token = token;
    const latest = () => (typeof this.#token === 'function' ? this.#token() : this.#token);
    this.runwire = createRunwireClient({ ...others, identity, token: token === undefined ? undefined : latest });
  }

  /** True once the connection is closed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** True if the options are of the same user of the same server. A user may have another token or token function. */
  isFor(options: SessionOptions): boolean {
    return this.#key === keyOf(options);
  }

  /** Uses this token from now on. Another text is sent to the server at once, and another function is asked soon. */
  update(token: TokenSource | undefined): void {
    if (token === this.#token) return;
    this.#token = token;
    this.runwire.connection.refreshToken({ isUrgent: typeof token === 'string' });
  }

  /**
   * Keeps the connection open until the returned function is called. The connection closes in a microtask, because React's
   * StrictMode releases a session and holds it again in one task. Calls `onOver` before it closes.
   */
  hold(onOver: (runwire: Runwire) => void): () => void {
    this.#holders++;
    return () => {
      this.#holders--;
      queueMicrotask(() => {
        if (this.#holders > 0 || this.#isOver) return;
        this.#isOver = true;
        onOver(this.runwire);
        void this.runwire.connection.close();
      });
    };
  }
}

function keyOf({ token, identity, maxReconnectAttempts, ...others }: SessionOptions): string {
  // A text without a readable user id is a user of its own: the page must not show another user's data until it is known.
  const user = typeof token === 'string' ? (identity ?? subjectOf(token) ?? token) : identity;
  const kind = token === null ? 'none' : typeof token;
  // JSON has no `Infinity`, so the number is converted to text first.
  const { url, reconnectDelayMs, afterFailed } = others;
  return JSON.stringify([url, kind, user, String(maxReconnectAttempts), reconnectDelayMs, afterFailed]);
}
