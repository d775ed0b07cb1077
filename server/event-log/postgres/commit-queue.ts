import type { RunRows } from '../../../shared/run.ts';
import type { Health } from '../../health.ts';
import type { Batch, Receipt } from '../contract/log.ts';
import { closedError, type PostgresDatabase } from './database.ts';
import type { Feed, LogState } from './feed.ts';
import type { PostgresNodes } from './nodes.ts';

export type CommitQueueParts = {
  database: PostgresDatabase;
  state: LogState;
  feed: Feed;
  nodes: Pick<PostgresNodes, 'id' | 'generation' | 'raise'>;
  fold: (rows: RunRows, event: never) => void;
  now: (() => number) | undefined;
  /** Where the database is, for operators. */
  path: string;
  health: Pick<Health, 'report'>;
  onCommit: (commit: { events: number; ms: number }) => void;
  onCommitFailure: () => void;
};

/** The batches that wait for their commit. */
export class CommitQueue {
  readonly #parts: CommitQueueParts;

  constructor(parts: CommitQueueParts) {
    this.#parts = parts;
  }

  add(_batch: Batch): Promise<Receipt[]> {
    return Promise.reject(closedError());
  }

  /** Commits or refuses all waiting batches. */
  async close(): Promise<void> {
    void this.#parts;
  }
}
