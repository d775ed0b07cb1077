import type { Erasure } from '../../../shared/audit.ts';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunRows } from '../../../shared/run.ts';
import { startKey } from '../../../shared/run-order.ts';
import { Missing } from '../commit/commit-fold.ts';
import { RunCache, runKey } from '../commit/run-cache.ts';
import { type Changes, CommitRows } from '../commit/run-rows.ts';
import type { EraseRequest } from '../contract/integrity.ts';
import type { ReadyDraft } from '../contract/log.ts';
import { type ErasableEvent, eventNotFound, formerUsers, planErasure } from '../integrity/erase.ts';
import { lockHead, type PostgresDatabase, type Query } from './database.ts';
import { readHead } from './head.ts';
import type { ErasureStore, Signing } from './integrity.ts';
import { type LoadedRow, LoadedRuns } from './loaded-runs.ts';
import { eraseFromOutbox } from './outbox.ts';
import { approvalState, artifactState, headerState } from './rows.ts';

/**
 * Erases the text of events from the tables, in a transaction that locks the head. It raises `head.erasures`: every node then
 * drops the rows of runs that it has in memory, and replaces the event.
 *
 * PostgreSQL keeps the old version of a changed row until `VACUUM`, so that follows each erasure. A snapshot that was open
 * meanwhile keeps it longer: a minute later, when no statement of a node can be older, `VACUUM` runs again.
 */

const VACUUM = `VACUUM events, event_users, runs, stages, artifacts, approvals, search_blocks, search_chunks,
  webhook_tries, outbox, outbox_refused`;
const AGAIN_MS = 60_000;

const EVENT = `SELECT e.seq, e.run_seq AS "runSeq", e.run_row AS "runRow", e.project_id AS "projectId", e.run_id AS "runId",
    e.type, e.event_id AS "eventId", e.payload, coalesce(e.salt, '') AS salt, e.payload_hash AS "payloadHash" FROM events e WHERE e.seq = $1`;
const STORED = 'SELECT generation, erasure FROM erasures WHERE seq = $1';
const REPLACE = 'UPDATE events SET payload = $2, salt = NULL WHERE seq = $1';
const INSERT = 'INSERT INTO erasures (seq, generation, erasure) VALUES ($1, $2, $3)';
const DELETE_USERS = 'DELETE FROM event_users WHERE seq = $1 AND user_id = ANY ($2)';
const PUT_RUN = 'UPDATE runs SET status = $2, created_at = $3, state = $4 WHERE row_id = $1';
const PUT_STAGE = `INSERT INTO stages (run_row, last_seq, stage_id, start_key, state) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (run_row, stage_id) DO UPDATE
  SET last_seq = excluded.last_seq, start_key = excluded.start_key, state = excluded.state`;
const PUT_ARTIFACT = `INSERT INTO artifacts (run_row, last_seq, artifact_id, seq, state) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (run_row, artifact_id) DO UPDATE SET last_seq = excluded.last_seq, seq = excluded.seq, state = excluded.state`;
const PUT_APPROVAL = `UPDATE approvals SET last_seq = $2, status = $4, expires_at = $5, decided_at = $6, request_actor = $7,
    requested_by = $8, state = $9 WHERE run_row = $1 AND approval_id = $3`;

type Found = ErasableEvent & { runRow: number; eventId: string };
type Parts = Signing & {
  database: PostgresDatabase;
  fold: (rows: RunRows, event: never) => void;
  /** Each removes the text of the event from other tables, inside the transaction. */
  beside: readonly { erasing(query: Query, seq: number): Promise<void> }[];
  onFailure: (error: unknown, message: string) => void;
};

export class PostgresErasure implements ErasureStore {
  readonly #parts: Parts;
  #vacuuming: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #again: NodeJS.Timeout | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  erase(request: EraseRequest): Promise<{ erasure: Erasure; generation: number }> {
    const { database, keys, id: epoch, clock, beside } = this.#parts;
    const { seq } = request;
    if (!Number.isSafeInteger(seq)) return Promise.reject(eventNotFound());
    return database.write(async (query) => {
      await lockHead(query);
      const [found] = await query<Found>({ text: EVENT, values: [seq] });
      if (!found || !request.mayErase(found.projectId)) throw eventNotFound();
      const [stored] = await query<{ generation: number; erasure: string }>({ text: STORED, values: [seq] });
      if (stored) return { erasure: JSON.parse(stored.erasure) as Erasure, generation: stored.generation };

      const generation = (await readHead(query)).erasures + 1;
      const nowMs = await clock(query);
      const { original, event, json, erasure } = own(() => planErasure(found, request, { epoch, keys, nowMs }));
      await query({ text: 'UPDATE head SET erasures = $1', values: [generation] });
      await query({ text: REPLACE, values: [seq, json] });
      await query({ text: INSERT, values: [seq, generation, JSON.stringify(erasure)] });
      const rows = await this.#fold(query, found, event);
      await writeRows(query, found.runRow, rows.changes());
      const users = formerUsers(original, rows.header()?.createdBy);
      await query({ text: DELETE_USERS, values: [seq, users] });
      await eraseFromOutbox(query, found.projectId, found.eventId);
      for (const table of beside) await table.erasing(query, seq);
      return { erasure, generation };
    });
  }

  /** Folds the tombstone over the stored rows of the run. */
  async #fold(query: Query, { projectId, runId }: ErasableEvent, event: object): Promise<CommitRows> {
    const draft = { ...(event as ReadyDraft), projectId, runId };
    const runs = new LoadedRuns(new RunCache(), [{ actor: '', drafts: [draft] }]);
    for (;;) {
      runs.load(await query<LoadedRow>(runs.statement()));
      const rows = new CommitRows(runs.open(runKey(projectId, runId)));
      try {
        own(() => this.#parts.fold(rows, event as never));
        return rows;
      } catch (error) {
        if (!(error instanceof Missing)) throw error;
        runs.want(error.row);
      }
    }
  }

  /** Removes the old versions of the rows. Calls during another one share the next. */
  clean(): Promise<void> {
    this.#next ??= this.#vacuuming.then(() => {
      this.#next = undefined;
      this.#vacuuming = this.#vacuum();
      clearTimeout(this.#again);
      this.#again = setTimeout(() => void this.#vacuum(), AGAIN_MS).unref();
      return this.#vacuuming;
    });
    return this.#next;
  }

  close(): void {
    clearTimeout(this.#again);
  }

  async #vacuum(): Promise<void> {
    const { database, onFailure } = this.#parts;
    if (database.isClosed) return;
    try {
      await database.run({ text: VACUUM });
    } catch (error) {
      // The erasure holds. Autovacuum does the same later.
      onFailure(error, 'old versions of erased rows cannot be removed yet: run VACUUM');
    }
  }
}

/** Runs a function of the caller. Its errors are not those of the store. */
function own<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof RunwireError || error instanceof Missing) throw error;
    throw new RunwireError('INTERNAL', 'an internal error', { cause: error });
  }
}

async function writeRows(query: Query, run: number, changes: Changes | undefined): Promise<void> {
  if (!changes) return;
  const { header, stages, artifacts, approvals } = changes;
  const { lastSeq } = header;
  await query({ text: PUT_RUN, values: [run, header.status, header.createdAt, headerState(header)] });
  for (const [id, stage] of stages) {
    const key = stage.status === 'running' ? startKey(stage) : null;
    await query({ text: PUT_STAGE, values: [run, lastSeq, id, key, JSON.stringify(stage)] });
  }
  for (const [id, artifact] of artifacts) {
    await query({ text: PUT_ARTIFACT, values: [run, lastSeq, id, artifact.order.seq, artifactState(artifact)] });
  }
  for (const [id, approval] of approvals) {
    const { status, expiresAt = null, decidedAt = null, requestActor = null, requestedBy = null } = approval;
    const columns = [status, expiresAt, decidedAt, requestActor, requestedBy, approvalState(approval)];
    await query({ text: PUT_APPROVAL, values: [run, lastSeq, id, ...columns] });
  }
}
