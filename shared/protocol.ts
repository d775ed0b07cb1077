import { objectOf } from './errors.ts';

/**
 * The constants and types of the protocol that client and server share: signals, close codes, heartbeat and limits.
 * docs/protocol.md describes the messages.
 */

/**
 * A subscription delivers events and these signals. `seq`, `fromSeq` and `toSeq` are positions in the log.
 *
 * - `stream.live`: the subscription has delivered every matching event up to `seq`. New events follow.
 * - `stream.gap`: the server cannot deliver the events from `fromSeq` to `toSeq`. The client must load the state of the
 *   run (its snapshot) again.
 */
export type StreamSignal =
  | { type: 'stream.live'; seq: number }
  | { type: 'stream.gap'; reason: GapReason; fromSeq: number; toSeq: number };
/** The reason for which events are not delivered. */
export type GapReason = 'expired' | 'epoch_changed' | 'ahead' | 'access_changed';

/** Returns whether an item of a subscription is a signal. The name of an event type must not begin with `stream.`. */
export function isSignal(item: object): item is StreamSignal {
  const { type } = objectOf(item, 'item') as { type?: unknown };
  return type === 'stream.live' || type === 'stream.gap';
}

/** WebSocket close codes, with cause and reaction. A cursor is the position from which the client resumes a subscription. */
export const closeCodes = {
  /** The server shuts down. The client reconnects with its cursors. */
  goingAway: 1001,
  /** The log or the authenticator is unavailable. The client reconnects with its cursors. */
  tryAgain: 1012,
  /** The token is missing, invalid or expired. The client fetches a new token; after a second 4401 in a row it stops. */
  unauthenticated: 4401,
  /** The token was revoked. The client stops. */
  revoked: 4403,
  /** The client reads too slowly. The client reconnects at once with its cursors. */
  tooSlow: 4408,
  /** The client exceeded a limit. The client reconnects after a delay. */
  overLimit: 4429,
} as const;

/**
 * Interval of the WebSocket heartbeat:
 * - The server sends a ping in each interval, and closes the socket when nothing has arrived for two intervals.
 * - The client sends `PING` after an interval without a message, and closes the socket after a second such interval.
 *
 * docs/protocol.md and docs/guide/operations.md quote this number and the two below. The read timeout of a proxy must
 * be longer than each of the three.
 */
export const HEARTBEAT_MS = 30_000;
/** Interval of the server's pings on a stream of server-sent events. */
export const SSE_PING_MS = 15_000;
/** A client of server-sent events reconnects when it has received nothing for this time. */
export const SSE_INACTIVITY_MS = 45_000;

/**
 * How a user signs in:
 * - `link`: with the link that a server with a secret of its own has printed;
 * - `secret`: with a token that an administrator has signed;
 * - `issuer`: with a token of an issuer (`AUTH_JWKS_URL`);
 * - `oidc`: at an identity provider, by OpenID Connect;
 * - `host`: in the application that the server is part of.
 */
export type AuthMode = 'link' | 'secret' | 'issuer' | 'oidc' | 'host';

/** Header of an answer over HTTP: the server's time, in Unix ms. */
export const TIME_HEADER = 'runwire-time';

/** Maximum size of a draft (an event before the server logs it) as JSON. */
export const DRAFT_LIMIT_BYTES = 64 * 1024;
/** Maximum number of drafts in a publish request. */
export const REQUEST_LIMIT_DRAFTS = 1_000;
/** Maximum number of rows that the drafts of a publish request make in the log, besides their events. */
export const REQUEST_LIMIT_ROWS = 10_000;
/** The fields of a draft that make a row for each of their items. */
export const ROW_FIELDS = ['stages', 'audience', 'approvers'] as const;
/** Returns the number of rows that a field of a draft makes. The draft may be any value. */
export function rowsIn(draft: unknown, field: (typeof ROW_FIELDS)[number]): number {
  const value = (draft as { [name: string]: unknown } | null | undefined)?.[field];
  return Array.isArray(value) ? value.length : 0;
}
/** Prefix of the event ids that only the server makes. The server refuses a draft with such an id. */
export const RESERVED_ID = 'runwire:';
