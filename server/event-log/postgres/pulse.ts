import type { LogHead } from '../contract/log.ts';
import { CLOCK_MS } from './clock.ts';
import type { Query } from './database.ts';
import { elapsedMs, type Instant, instant } from './elapsed.ts';
import type { LogState } from './feed.ts';

/**
 * Asks the store for its state, at least every 250 ms: what makes everything true without a backplane. A doorbell makes the
 * next pulse come at once. Pulses follow each other, and each is finished when this node has applied what it read.
 */

export const PULSE_MS = 250;
/** Time between the beginnings of two pulses, however many doorbells ring. */
const MIN_PULSE_MS = 10;
/** A node that does not know the state of this time ago serves nothing. */
const CURRENT_MS = 1_000;

/** $1: head of this node. $2: its id. One statement, so all of it is of one moment. */
const STATE = `
  SELECT h.epoch, h.epoch_seq AS "epochSeq", h.seq, encode(substr(h.hash, 1, 4), 'hex') AS "hashPrefix",
    h.recorded_at_ms AS "recordedAtMs", h.oldest, h.erasures, ${CLOCK_MS} AS "clockMs",
    (SELECT encode(substr(e.prev_hash, 1, 4), 'hex') FROM events e WHERE e.seq = $1::bigint + 1) AS "hashPrefixAtHead",
    (SELECT json_object_agg(r.name, r.revision) FROM revisions r) AS revisions,
    (SELECT json_agg(l.name) FROM leases l WHERE l.lease_until > clock_timestamp()) AS leases,
    (SELECT min(n.erasures) FROM nodes n WHERE n.lease_until > clock_timestamp()) AS confirmed,
    EXISTS (SELECT 1 FROM nodes n WHERE n.node_id = $2 AND n.lease_until > clock_timestamp()) AS "isMember",
    EXISTS (SELECT 1 FROM nodes n WHERE n.node_id <> $2 AND n.lease_until > clock_timestamp()) AS "hasOthers",
    EXISTS (SELECT 1 FROM nodes n WHERE n.lease_until < clock_timestamp() - interval '1 minute') AS "hasGone"
  FROM head h`;

/** The state of the store at one moment. */
export type StoreState = {
  epoch: string;
  epochSeq: number;
  seq: number;
  hashPrefix: string;
  recordedAtMs: number;
  oldest: number;
  erasures: number;
  /** The clock of the database. */
  clockMs: number;
  /** Hash of the row at the head of this node, if a row follows it. */
  hashPrefixAtHead: string | null;
  revisions: Record<string, number> | null;
  /** Names of the leases that a node holds. */
  leases: string[] | null;
  /** Erasures that every node with a lease has confirmed; null without such a node. */
  confirmed: number | null;
  isMember: boolean;
  /** Whether another node has a lease. */
  hasOthers: boolean;
  /** Whether a node is gone, so that its row can be removed. */
  hasGone: boolean;
};

export async function readStoreState(query: Query, head: number, nodeId: string): Promise<StoreState> {
  const [state] = await query<StoreState>({ name: 'pulse', text: STATE, values: [head, nodeId] });
  return state as StoreState;
}

/** Whether the store has another history than a node with this head: its row there is another one, or is missing. */
export const hasOtherHistory = (state: StoreState, head: LogHead): boolean =>
  state.seq < head.seq || (hashPrefixAt(state, head) ?? head.hashPrefix) !== head.hashPrefix;

/** Hash prefix of the store's row at the head of a node; undefined if the row was trimmed, or is missing. */
export const hashPrefixAt = (state: StoreState, head: LogHead): string | undefined =>
  state.seq === head.seq ? state.hashPrefix : (state.hashPrefixAtHead ?? undefined);

export const logStateOf = ({ epoch, seq, hashPrefix, recordedAtMs, oldest, erasures }: StoreState): LogState => ({
  epoch,
  head: { seq, hashPrefix },
  recordedAtMs,
  oldest,
  erasures,
});

type PulseParts = {
  /** Reads the state of the store and applies it to this node. */
  beat: () => Promise<void>;
  onFailure: (error: unknown, message: string) => void;
};

export class Pulse {
  readonly #parts: PulseParts;
  /** When the last pulse began that has succeeded. */
  #currentAt: Instant | undefined;
  #startedAt: Instant | undefined;
  #running: Promise<boolean> | undefined;
  /** The pulse that begins after the one in flight. */
  #next: Promise<boolean> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(parts: PulseParts) {
    this.#parts = parts;
  }

  get isCurrent(): boolean {
    return this.#currentAt !== undefined && elapsedMs(this.#currentAt) <= CURRENT_MS;
  }

  /**
   * Resolves after a pulse that begins after this call: this node then knows all that the store had before the call. False
   * if the pulse failed.
   */
  look(): Promise<boolean> {
    this.#next ??= this.#beatNext();
    return this.#next;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #beatNext(): Promise<boolean> {
    await this.#running;
    const waitMs = this.#startedAt ? MIN_PULSE_MS - elapsedMs(this.#startedAt) : 0;
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    this.#next = undefined;
    this.#running = this.#beat();
    return this.#running;
  }

  async #beat(): Promise<boolean> {
    if (this.#isClosed) return false;
    clearTimeout(this.#timer);
    const startedAt = instant();
    this.#startedAt = startedAt;
    try {
      await this.#parts.beat();
      this.#currentAt = startedAt;
      return true;
    } catch (error) {
      if (!this.#isClosed) this.#parts.onFailure(error, 'the state of the event log cannot be read');
      return false;
    } finally {
      const waitMs = Math.max(0, PULSE_MS - elapsedMs(startedAt));
      if (!this.#isClosed) this.#timer = setTimeout(() => void this.look(), waitMs);
    }
  }
}
