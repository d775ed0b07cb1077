import { RunwireError } from '../shared/errors.ts';

/**
 * Limits that protect the server from a single client. Each limit is an option of `createRunServer`, and an environment
 * variable `LIMIT_…` (`config.ts`).
 */

export const defaultLimits = {
  /** Size of a WebSocket message, and of the body of a request to `/trpc`. */
  messageBytes: 1024 * 1024,
  /** Messages per second of a socket; in a burst, 10 times as many. A batch of n calls counts as n messages. */
  messagesPerSecond: 500,
  /** Open subscriptions of one socket. */
  subscriptionsPerSocket: 2_000,
  /** Open subscriptions of all sockets of one user. */
  subscriptionsPerUser: 10_000,
  /** Open sockets of one user. */
  connectionsPerUser: 1_000,
  /** Open sockets from one IP address. Behind a proxy, all clients have the proxy's address. */
  connectionsPerAddress: 10_000,
  /** Time limit for a client to send its token, and again for the server to verify the token. */
  identifyMs: 10_000,
  /**
   * Events that one user may publish per second over the network; in a burst, 10 times as many at once. Each planned stage,
   * user of an audience, approver, and 4 KiB of a draft count as one more event.
   */
  publishedPerSecond: 5_000,
  /**
   * The server closes a socket with more unsent bytes than this. Subscriptions pause far below this limit, so only
   * responses to calls can exceed it.
   */
  unsentBytes: 16 * 1024 * 1024,
  /**
   * A socket is closed when it has unsent bytes and its client has read nothing for this time. The client reconnects,
   * and resumes its subscriptions.
   */
  stalledMs: 60_000,
};

export type Limits = typeof defaultLimits;

/** Longest delay of a timer: Node.js runs a longer one at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const MAX_DAYS = 36_500;

/** Returns what is wrong with a number, by the unit at the end of its name; undefined if nothing is. */
export function problemOfNumber(name: string, value: unknown): string | undefined {
  const max = name.endsWith('Ms') ? MAX_TIMER_MS : name.endsWith('Days') ? MAX_DAYS : Number.MAX_SAFE_INTEGER;
  if (typeof value !== 'number' || !(value > 0)) return 'must be a positive number';
  return value > max ? `must be at most ${max}` : undefined;
}

/** Returns what is wrong with a limit; undefined if nothing is. */
export const problemOfLimit = (name: string, value: unknown): string | undefined =>
  Object.hasOwn(defaultLimits, name) ? problemOfNumber(name, value) : 'unknown limit';

/** Adds the defaults. Throws `INVALID_INPUT` for an unknown limit, or one that is not a positive number in its range. */
export function limitsOf(limits: Partial<Limits> = {}): Limits {
  for (const [name, value] of Object.entries(limits)) {
    const problem = problemOfLimit(name, value);
    if (problem !== undefined) throw new RunwireError('INVALID_INPUT', problem, { path: `limits.${name}` });
  }
  return { ...defaultLimits, ...limits };
}
