import type { ErrorCode } from '../../../shared/errors.ts';

/** Names a draft: the call of `runwire_publish`, and its index in that call. */
export type OutboxKey = { callId: number; index: number };
/** `text`: the draft as JSON, with `eventId` and `timestamp`. `actor`: the database role that has called. */
export type OutboxDraft = OutboxKey & { actor: string; text: string };
export type OutboxRefusal = OutboxKey & { code: ErrorCode; path: string; message: string };

export type OutboxPage = {
  /** Every call of the page, also those of which no draft is left. */
  callIds: number[];
  /** In the order of the commits, and within a transaction in the order of the calls. */
  drafts: OutboxDraft[];
  /** Age of the first call; 0 for an empty page. */
  waitingMs: number;
};

/**
 * Drafts that a program has published inside a transaction of its own, in the database of the store. They wait here until a
 * server has moved them to the log. Only PostgreSQL has an outbox.
 */
export interface Outbox {
  /**
   * Returns the drafts of the next committed calls: at most 1,000 drafts and 1 MiB, or one call. Repeats them until they are
   * settled.
   */
  next(): Promise<OutboxPage>;
  /**
   * Removes calls with drafts that are in the log, and keeps the refused drafts with their reason. Does nothing for a call that
   * another server has settled.
   */
  settle(callIds: readonly number[], refused: readonly OutboxRefusal[]): Promise<void>;
  /** Removes refused drafts that are too old or too many. Returns their number. */
  forgetRefused(): Promise<number>;
  /** Calls the listener when drafts may have been committed. A call may get lost. Returns a function that ends this. */
  onWork(listener: () => void): () => void;
}
