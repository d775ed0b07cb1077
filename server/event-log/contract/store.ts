import type { Approval, RunHeader, RunView } from '../../../shared/run.ts';
import type { AccessLog } from './access.ts';
import type { ApprovalPage, ApprovalQuery, StoredApproval } from './approvals.ts';
import type { Checkpoint, EraseRequest, Erasure, Verdict, VerifyOptions } from './integrity.ts';
import type { Batch, Page, ReadQuery, Receipt, StoredEvent } from './log.ts';
import type { Revocations } from './revocations.ts';
import type { ChangeQuery, RunPage, RunQuery } from './runs.ts';
import type { SearchPage, SearchQuery } from './search.ts';

/**
 * A durable, ordered log of events and the folded runs that follow from them.
 *
 * - `seq` MUST be contiguous from 1 over the log, `runSeq` over a run, and neither is ever used twice.
 * - Records MUST be visible to readers only once durable, and all rows of a batch at once.
 * - A run's header, stages, artifacts and approvals MUST change in the transaction of the event, at a cost that does not
 *   grow with the run.
 * - No method may hold the event loop for long: reads come back in slices of at most 5 ms.
 * - Every failure of the store itself is a `RunwireError` `UNAVAILABLE`; what a fold or a check throws that is no
 *   `RunwireError` is `INTERNAL`, since it would be thrown again.
 */
export interface EventLog {
  /** Identity of this log: positions of another mean nothing here. */
  readonly epoch: string;
  /** Random, of at least 128 bits, and the log's for good: a key for digests. It MUST NOT leave the server. */
  readonly secret: string;
  /** Greatest `seq` that is durable; 0 for an empty log. */
  readonly head: number;
  /** Least `seq` still kept; `head + 1` when none is. */
  readonly oldest: number;
  /** Kept beside the events, and not trimmed with them. */
  readonly revocations: Revocations;

  /**
   * Appends a batch, all or none, and resolves once it is durable. Batches of one turn of the event loop commit
   * together, in the order of the calls; one that is refused takes no other with it.
   * A draft whose `eventId` its project already has is a duplicate: it is not stored again.
   */
  append(batch: Batch): Promise<Receipt[]>;

  /** Calls the listener after each commit, before `append` resolves, with its records in order. It MUST NOT throw. */
  subscribe(listener: (records: readonly StoredEvent[]) => void): () => void;

  read(query: ReadQuery): Promise<Page>;

  /**
   * Projects that have a run of this id; of these alone, where some are named: then no run of another may be looked at,
   * lest the time it takes tells that there is one.
   */
  projectsOf(runId: string, among?: readonly string[]): Promise<string[]>;

  /**
   * Events by what is in them, newest first. It may lag by a second behind what was appended; of what was there when
   * the search began, a page holds every match between its records. A long search MUST neither hold the loop nor go on
   * for long before it answers with what it has.
   */
  search(query: SearchQuery): Promise<SearchPage>;
  /** The last position recorded before an instant (Unix ms); `oldest - 1` where there is none. */
  positionBefore(recordedAtMs: number): Promise<number>;
  /** Who read what. */
  readonly access: AccessLog;
  /** The folded run and the position that it is true at; undefined when there is none. */
  run(projectId: string, runId: string): Promise<{ run: RunView; position: number } | undefined>;
  /** Headers, newest `createdAt` first. */
  runs(query: RunQuery): Promise<RunPage>;
  /**
   * Headers of runs whose last event came after a position, in order of that event; `scannedTo` as for {@link Page}.
   */
  runsChangedSince(query: ChangeQuery): Promise<{ runs: RunHeader[]; scannedTo: number }>;

  approval(projectId: string, runId: string, approvalId: string): Promise<Approval | undefined>;
  /** Approvals, newest request first. */
  approvals(query: ApprovalQuery): Promise<ApprovalPage>;
  /**
   * At most so many pending approvals: of one run, or of those that expire, the soonest first. The cost does not grow with
   * what is not pending.
   */
  pendingApprovals(of: { projectId: string; runId: string } | 'expiring', limit: number): Promise<StoredApproval[]>;

  /**
   * Recomputes every hash from the oldest row to the head as it is at the call, and names the first `seq` that does not
   * hold. Of several neighbours that were rewritten together, it may be the one before the first or the last.
   */
  verify(options?: VerifyOptions): Promise<Verdict>;

  /** Signs and keeps where the log is; where it has not moved since the last checkpoint, that is the answer. */
  checkpoint(): Promise<{ checkpoint: Checkpoint; isNew: boolean }>;
  /** The public half of the key that signs, as PEM. */
  readonly publicKey: string;

  /**
   * Puts a tombstone in the place of an event and of all that it left in its run's rows, for good: the text MUST NOT stay
   * in the store's files, nor the salt anywhere. Erased again, an event stays as it is, and the answer is the first one's.
   * Throws `EVENT_NOT_FOUND`.
   */
  erase(request: EraseRequest): Promise<Erasure>;
  /** Calls the listener with each tombstone before `erase` resolves: what holds the text elsewhere has to let go of it. */
  onErased(listener: (record: StoredEvent) => void): () => void;

  /**
   * Forgets events recorded before an instant (Unix ms), oldest first; never the newest event, and never a run's view.
   * What is forgotten is found by no search any more. Entries of `access` older than that go, too.
   */
  trim(recordedBeforeMs: number): Promise<{ removed: number }>;

  /** Makes what was accepted durable, then releases everything. Later calls fail with `UNAVAILABLE`. */
  close(): Promise<void>;
}
