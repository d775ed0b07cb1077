import { RunwireError } from '../shared/errors.ts';

/** What one client may ask of a server. Each may be set by an option or `LIMIT_…` in the environment (`config.ts`). */

export const defaultLimits = {
  /** Bytes of a WebSocket message, and of a request to `/trpc`. */
  messageBytes: 1024 * 1024,
  /** Messages of a socket a second, with each request in them; ten seconds' worth may come at once. */
  messagesPerSecond: 500,
  /** Subscriptions of one socket, and of all sockets of one user. */
  subscriptionsPerSocket: 2_000,
  subscriptionsPerUser: 10_000,
  /** Open sockets of one user, and from one address. Behind a proxy, everyone has the proxy's address. */
  connectionsPerUser: 1_000,
  connectionsPerAddress: 10_000,
  /** How long a client may take to say who it is, and the check of what it says after that. */
  identifyMs: 10_000,
  /** Events that one user may publish a second over the network; ten seconds' worth may come at once. */
  publishedPerSecond: 5_000,
  /** Bytes that a socket may have unsent. Events keep far below it; answers to requests may not. */
  unsentBytes: 16 * 1024 * 1024,
  /** A socket with something unsent that takes nothing for so long is closed; the client comes back with its cursors. */
  stalledMs: 60_000,
};
export type Limits = typeof defaultLimits;

/** Throws `INVALID_INPUT` for what is no positive number. */
export function limitsOf(limits: Partial<Limits> = {}): Limits {
  for (const [name, value] of Object.entries(limits)) {
    const isKnown = name in defaultLimits;
    if (isKnown && typeof value === 'number' && value > 0) continue;
    const message = isKnown ? 'must be a positive number' : 'no such limit';
    throw new RunwireError('INVALID_INPUT', message, { path: `limits.${name}` });
  }
  return { ...defaultLimits, ...limits };
}

/** How much at once, in seconds of the rate. */
const BURST_SECONDS = 10;

/** A token bucket, without a timer. */
export class Bucket {
  readonly #perSecond: number;
  #level: number;
  #at = performance.now();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#level = perSecond * BURST_SECONDS;
  }

  /** Takes so much, or nothing where there is not as much. What is more than it ever holds, a full one gives on credit. */
  take(count: number): boolean {
    this.#fill();
    if (this.#level < Math.min(count, this.#perSecond * BURST_SECONDS)) return false;
    this.#level -= count;
    return true;
  }

  /** As good as new. */
  get isFull(): boolean {
    this.#fill();
    return this.#level >= this.#perSecond * BURST_SECONDS;
  }

  #fill(): void {
    const now = performance.now();
    const gained = ((now - this.#at) / 1000) * this.#perSecond;
    this.#level = Math.min(this.#perSecond * BURST_SECONDS, this.#level + gained);
    this.#at = now;
  }
}

/** Buckets found by a key; those that are full again are forgotten now and then. */
export class Buckets {
  readonly #perSecond: number;
  readonly #byKey = new Map<string, Bucket>();
  #sweepAt = 1_000;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  take(key: string, count: number): boolean {
    let bucket = this.#byKey.get(key);
    if (!bucket) {
      if (this.#byKey.size >= this.#sweepAt) this.#sweep();
      bucket = new Bucket(this.#perSecond);
      this.#byKey.set(key, bucket);
    }
    return bucket.take(count);
  }

  #sweep(): void {
    for (const [key, bucket] of this.#byKey) if (bucket.isFull) this.#byKey.delete(key);
    this.#sweepAt = Math.max(1_000, 2 * this.#byKey.size);
  }
}
