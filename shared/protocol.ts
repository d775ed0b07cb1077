/**
 * The part of the protocol that client and server must agree on: signals, close codes, heartbeat and limits.
 * docs/protocol.md describes the messages.
 */

/**
 * A subscription yields events and these signals. Each `seq` is a position in the log.
 *
 * - `stream.live`: the subscriber has seen every match up to `seq`. New events follow.
 * - `stream.gap`: the events from `fromSeq` to `toSeq` cannot be delivered. The client must reload its snapshot.
 */
export type StreamSignal =
  | { type: 'stream.live'; seq: number }
  | { type: 'stream.gap'; reason: GapReason; fromSeq: number; toSeq: number };
export type GapReason = 'expired' | 'epoch_changed' | 'ahead' | 'access_changed';

/** Returns whether an item is a signal. No event type may begin with `stream.`. */
export function isSignal(item: object): item is StreamSignal {
  const { type } = item as { type?: unknown };
  return type === 'stream.live' || type === 'stream.gap';
}

/** WebSocket close codes, each with what the client must do. */
export const closeCodes = {
  /** The server shuts down. The client reconnects with its cursors. */
  goingAway: 1001,
  /** The log or the authenticator is unavailable. The client reconnects with its cursors. */
  tryAgain: 1012,
  /** The token is missing, invalid or expired. The client fetches a token once more; a second 4401 in a row is final. */
  unauthenticated: 4401,
  /** The token was revoked. The client stops. */
  revoked: 4403,
  /** The client reads too slowly. It reconnects at once with its cursors. */
  tooSlow: 4408,
  /** The client exceeded a limit. It reconnects after a delay. */
  overLimit: 4429,
} as const;

/**
 * The server pings a WebSocket at this interval, and terminates it after two intervals of silence. The client sends `PING`
 * after one interval of silence, and drops the socket after another. docs/protocol.md and docs/guide/operations.md quote
 * these three numbers; a proxy's read timeout must be longer than each.
 */
export const HEARTBEAT_MS = 30_000;
/** The server sends a ping on server-sent events at this interval. */
export const SSE_PING_MS = 15_000;
/** The client of server-sent events reconnects after this time of silence. */
export const SSE_INACTIVITY_MS = 45_000;

/** A draft's JSON may have at most this many bytes. */
export const DRAFT_LIMIT_BYTES = 64 * 1024;
/** A publish request may hold at most this many drafts. */
export const REQUEST_LIMIT_DRAFTS = 1_000;
/** Event ids with this prefix belong to the server. */
export const RESERVED_ID = 'runwire:';
