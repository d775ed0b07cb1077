import type { RunHeader, Stage } from '../../../shared/run.ts';
import { startKey } from '../../../shared/run-order.ts';
import type { RowKind } from '../commit/commit-fold.ts';
import type { WritableTables } from '../commit/commit-group.ts';
import { CachedRun, type Rows, type RunRow } from '../commit/run-cache.ts';
import type { Changes } from '../commit/run-rows.ts';
import type { DatabaseSyncInstance } from './driver.ts';

/** Statements on the rows of runs, prepared once for a connection. */
export function prepareRowStatements(db: DatabaseSyncInstance) {
  return {
    findRun: db.prepare('SELECT row_id, state, status FROM runs WHERE project_id = ? AND run_id = ?'),
    insertRun: db.prepare(
      `INSERT INTO runs (project_id, run_id, last_seq, state, status, created_at, last_era)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ),
    updateRun: db.prepare(
      'UPDATE runs SET last_seq = ?, state = ?, status = ?, created_at = ?, last_era = ? WHERE row_id = ?',
    ),
    // For a run with unchanged indexed columns: SQLite writes each index that has a column of the statement.
    moveRunOn: db.prepare('UPDATE runs SET last_seq = ?, state = ? WHERE row_id = ?'),
    stage: db.prepare('SELECT state FROM stages WHERE run_row = ? AND stage_id = ?'),
    artifact: db.prepare('SELECT state FROM artifacts WHERE run_row = ? AND artifact_id = ?'),
    approval: db.prepare('SELECT state FROM approvals WHERE run_row = ? AND approval_id = ?'),
    approvalCount: db.prepare('SELECT count(*) AS count FROM approvals WHERE run_row = ?'),
    lastStarted: db.prepare(
      'SELECT start_key, state FROM stages WHERE run_row = ? AND start_key < ? ORDER BY start_key DESC LIMIT 1',
    ),
    putStage: db.prepare(
      `INSERT INTO stages (run_row, stage_id, last_seq, start_key, state) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET last_seq = excluded.last_seq, start_key = excluded.start_key, state = excluded.state`,
    ),
    // For a stage with an unchanged `start_key`: leaves the index on this column alone.
    updateStage: db.prepare('UPDATE stages SET last_seq = ?, state = ? WHERE run_row = ? AND stage_id = ?'),
    putArtifact: db.prepare(
      `INSERT INTO artifacts (run_row, artifact_id, last_seq, state) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET last_seq = excluded.last_seq, state = excluded.state`,
    ),
    putApproval: db.prepare(
      `INSERT INTO approvals (run_row, approval_id, last_seq, status, state) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET last_seq = excluded.last_seq, status = excluded.status, state = excluded.state`,
    ),
  };
}

export type RowStatements = ReturnType<typeof prepareRowStatements>;

/** Rows that are written between two yields: about a millisecond. */
export const YIELD_ROWS = 64;

/**
 * The stored rows of one run, inside one transaction: a row that is not in memory is read. Between transactions the rows in
 * memory are those that are stored.
 */
export class SqliteRun extends CachedRun implements WritableTables {
  readonly #statements: RowStatements;
  /** The run as the open transaction has written it. */
  #next: RunRow | undefined;

  constructor(statements: RowStatements, projectId: string, runId: string, row?: RunRow) {
    super(projectId, runId, row);
    this.#statements = statements;
  }

  static find(statements: RowStatements, projectId: string, runId: string): SqliteRun {
    const row = statements.findRun.get(projectId, runId) as { row_id: number; state: string } | undefined;
    if (!row) return new SqliteRun(statements, projectId, runId);
    const header = JSON.parse(row.state) as RunHeader;
    return new SqliteRun(statements, projectId, runId, rowOf(row.row_id, header, row.state));
  }

  /** A new run has no row id until `write`. */
  get rowId(): number | undefined {
    return (this.#next ?? this.row)?.rowId;
  }

  override approvalCount(): number {
    return this.row ? (this.#statements.approvalCount.get(this.row.rowId) as { count: number }).count : 0;
  }

  override lastStarted(before: string): { startKey: string; stage: Stage } | undefined {
    if (!this.row) return undefined;
    const row = this.#statements.lastStarted.get(this.row.rowId, before) as
      | { start_key: string; state: string }
      | undefined;
    return row && { startKey: row.start_key, stage: JSON.parse(row.state) as Stage };
  }

  protected override read<Kind extends RowKind>(kind: Kind, id: string): Rows[Kind] | undefined {
    const found = this.#statements[kind].get(this.row?.rowId as number, id) as { state: string } | undefined;
    // Refused batches may ask for any number of missing rows, so these are not kept.
    if (!found) return undefined;
    const row = JSON.parse(found.state) as Rows[Kind];
    this.put(kind, id, row, found.state.length);
    return row;
  }

  /** Once it has been called, the rows in memory are those of the open transaction: after a failure, the run is dropped. */
  *write({ header, stages, artifacts, approvals }: Changes): Generator<undefined, void> {
    const { updateStage, putStage, putArtifact, putApproval } = this.#statements;
    const rowId = this.#writeHeader(header);
    const { lastSeq } = header;
    let written = 0;
    for (const [stageId, stage, stored] of stages) {
      const state = JSON.stringify(stage);
      if (stored && isKeyedAlike(stored, stage)) updateStage.run(lastSeq, state, rowId, stageId);
      else putStage.run(rowId, stageId, lastSeq, indexedKey(stage), state);
      this.put('stage', stageId, stage, state.length);
      if (++written % YIELD_ROWS === 0) yield;
    }
    for (const [artifactId, artifact] of artifacts) {
      const state = JSON.stringify(artifact);
      putArtifact.run(rowId, artifactId, lastSeq, state);
      this.put('artifact', artifactId, artifact, state.length);
      if (++written % YIELD_ROWS === 0) yield;
    }
    for (const [approvalId, approval] of approvals) {
      const state = JSON.stringify(approval);
      putApproval.run(rowId, approvalId, lastSeq, approval.status, state);
      this.put('approval', approvalId, approval, state.length);
      if (++written % YIELD_ROWS === 0) yield;
    }
  }

  /** The transaction of {@link write} is committed. */
  committed(): void {
    if (!this.#next) return;
    this.row = this.#next;
    this.#next = undefined;
  }

  #writeHeader(header: RunHeader): number {
    const { status, createdAt, lastSeq } = header;
    const { insertRun, updateRun, moveRunOn } = this.#statements;
    const state = JSON.stringify(header);
    const { row } = this;
    let rowId = row?.rowId;
    if (!row || rowId === undefined) {
      const values = [lastSeq, state, status, createdAt, eraOf(lastSeq)];
      rowId = Number(insertRun.run(this.projectId, this.runId, ...values).lastInsertRowid);
    } else if (isIndexedAlike(row.header, header)) moveRunOn.run(lastSeq, state, rowId);
    else updateRun.run(lastSeq, state, status, createdAt, eraOf(lastSeq), rowId);
    this.#next = rowOf(rowId, header, state);
    return rowId;
  }
}

const rowOf = (rowId: number, header: RunHeader, { length }: string): RunRow => ({
  rowId,
  version: header.lastRunSeq,
  header,
  length,
});
/** Whether {@link indexedKey} is the same for two versions of a stage. */
const isKeyedAlike = (a: Stage, b: Stage): boolean =>
  a.status === 'running' ? b.status === 'running' && a.startedAt === b.startedAt : b.status !== 'running';
const indexedKey = (stage: Stage): string | null => (stage.status === 'running' ? startKey(stage) : null);

/** 4,096 positions are an era: an index of eras finds the runs that changed after a position, and is seldom written. */
const ERA = 4_096;
const eraOf = (seq: number): number => Math.floor(seq / ERA);

/** Whether the indexed columns of a run are the same in two versions. */
const isIndexedAlike = (a: RunHeader, b: RunHeader): boolean =>
  a.status === b.status && a.createdAt === b.createdAt && eraOf(a.lastSeq) === eraOf(b.lastSeq);
