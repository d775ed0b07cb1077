import { RunwireError } from '../shared/errors.ts';

/** Limits for one client. Each is an option, and a variable `LIMIT_…` of the environment (`config.ts`). */

export const defaultLimits = {
  /** Size of a WebSocket message, and of the body of a request to `/trpc`. */
  messageBytes: 1024 * 1024,
  /** Messages of a socket per second: a batch of n calls counts n. Ten seconds' worth may arrive at once. */
  messagesPerSecond: 500,
  /** Subscriptions of one socket, and of all sockets of one user. */
  subscriptionsPerSocket: 2_000,
  subscriptionsPerUser: 10_000,
  /** Open sockets of one user, and from one address. Behind a proxy, all clients have the proxy's address. */
  connectionsPerUser: 1_000,
  connectionsPerAddress: 10_000,
  /** Time for a client to send its token, and then for the check of the token. */
  identifyMs: 10_000,
  /** Events that one user publishes per second over the network. Ten seconds' worth may arrive at once. */
  publishedPerSecond: 5_000,
  /** Unsent bytes of a socket. Readers pause far below it, so only responses to calls can reach it. */
  unsentBytes: 16 * 1024 * 1024,
  /** A socket with unsent bytes that takes nothing for this time is closed. The client reconnects with its cursors. */
  stalledMs: 60_000,
};

export type Limits = typeof defaultLimits;

/** Fills in the defaults. Throws `INVALID_INPUT` for an unknown limit, or one that is not a positive number. */
export function limitsOf(limits: Partial<Limits> = {}): Limits {
  for (const [name, value] of Object.entries(limits)) {
    const isKnown = name in defaultLimits;
    if (isKnown && typeof value === 'number' && value > 0) continue;
    const message = isKnown ? 'must be a positive number' : 'unknown limit';
    throw new RunwireError('INVALID_INPUT', message, { path: `limits.${name}` });
  }
  return { ...defaultLimits, ...limits };
}
