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
  /** Replaced at each render, because each render of the provider may pass a new function. */
  token: TokenSource | undefined;
  readonly #key: string;
  #holders = 0;
  #isOver = false;

  constructor(options: SessionOptions) {
    const { token, identity = subjectOf(token) } = options;
    this.#key = keyOf(options);
    this.token = token;
    const latest = () => (typeof this.token === 'function' ? this.token() : this.token);
    this.runwire = createRunwireClient({ ...options, identity, token: token === undefined ? undefined : latest });
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
        void this.runwire.connection.close();
      });
    };
  }
}

const keyOf = ({ url, token, identity, maxReconnectAttempts, reconnectDelayMs, afterFailed }: SessionOptions): string =>
  // JSON has no `Infinity`, so the number is converted to text first.
  JSON.stringify([url, token === undefined, identity, String(maxReconnectAttempts), reconnectDelayMs, afterFailed]);
