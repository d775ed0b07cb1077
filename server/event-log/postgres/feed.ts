import type { ChainHead } from '../commit/commit-group.ts';
import type { StoredEvent } from '../contract/log.ts';
import { GENESIS } from '../integrity/canonical.ts';
import type { Query } from './database.ts';

/** What this server knows of the log. `head`: the last event that it has given to its listeners. */
export type LogState = { epoch: string; head: ChainHead; oldest: number; erasures: number };

/**
 * A commit of this server. `from`: position before its first record. `head`: the last row after it. `erasures`: the number
 * of erasures that the commit has seen.
 */
export type Committed = { from: number; records: readonly StoredEvent[]; head: ChainHead; erasures: number };

/** Reads the row of the head. */
export async function readState(query: Query): Promise<LogState> {
  const [row] = await query<{
    epoch: string;
    seq: number;
    hash: Buffer;
    recorded_at_ms: number;
    oldest: number;
    erasures: number;
  }>({ text: 'SELECT epoch, seq, hash, recorded_at_ms, oldest, erasures FROM head' });
  const { epoch = '', seq = 0, hash = GENESIS, recorded_at_ms: recordedAtMs = 0, oldest = 1, erasures = 0 } = row ?? {};
  return { epoch, head: { seq, hash, recordedAtMs }, oldest, erasures };
}

type Listener = (records: readonly StoredEvent[]) => void;

/** Gives every record of the log to the listeners, once and in order. */
export class Feed {
  readonly #state: LogState;
  readonly #onFailure: (error: unknown, message: string) => void;
  readonly #listeners = new Set<Listener>();

  constructor(state: LogState, onFailure: (error: unknown, message: string) => void) {
    this.#state = state;
    this.#onFailure = onFailure;
  }

  /** Queues the records of a commit of this server. */
  committed({ records, head }: Committed): void {
    if (head.seq <= this.#state.head.seq) return;
    this.#state.head = head;
    for (const listener of records.length > 0 ? this.#listeners : []) {
      try {
        listener(records);
      } catch (error) {
        this.#onFailure(error, 'a listener of the event log failed');
      }
    }
  }

  /** Resolves once the listeners have the record at this position. */
  async reached(_seq: number): Promise<void> {}

  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
