import { RunwireError } from '../shared/errors.ts';

/** What one client may ask of a server. Each may be set by an option or `LIMIT_…` in the environment (`config.ts`). */

export const defaultLimits = {
  /** Bytes of a WebSocket message, and of a request to `/trpc`. */
  messageBytes: 1024 * 1024,
  /** Messages of a socket per second: a batch of n calls counts n. Ten seconds' worth may arrive at once. */
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
