import type { Approval, Artifact, RunHeader, Stage } from '../../../shared/run.ts';
import { startKey } from '../../../shared/run-order.ts';
import type { WritableTables } from '../commit/commit-group.ts';
import type { Changes } from '../commit/run-rows.ts';
import type { DatabaseSyncInstance } from './driver.ts';

/** Statements on the rows of runs, prepared once for a connection. */
export function prepareRowStatements(db: DatabaseSyncInstance) {
  return {
    findRun: db.prepare('SELECT row_id, state, status FROM runs WHERE project_id = ? AND run_id = ?'),
    insertRun: db.prepare(
      'INSERT INTO runs (project_id, run_id, status, created_at, last_seq, state) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    updateRun: db.prepare('UPDATE runs SET status = ?, created_at = ?, last_seq = ?, state = ? WHERE row_id = ?'),
    // For a run with an unchanged `created_at`: leaves the indexes on this column alone.
    moveRunOn: db.prepare('UPDATE runs SET status = ?, last_seq = ?, state = ? WHERE row_id = ?'),
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

const parsed = <T>(row: object | undefined): T | undefined =>
  row === undefined ? undefined : (JSON.parse((row as { state: string }).state) as T);

/** Rows that are written between two yields: about a millisecond. */
export const YIELD_ROWS = 64;

/** The stored rows of one run, inside one transaction. Nothing else may change these rows until `write`. */
export class SqliteRunTables implements WritableTables {
  readonly header: RunHeader | undefined;
  readonly #statements: RowStatements;
  readonly #projectId: string;
  readonly #runId: string;
  #rowId: number | bigint | undefined;

  constructor(statements: RowStatements, projectId: string, runId: string) {
    this.#statements = statements;
    this.#projectId = projectId;
    this.#runId = runId;
    const row = statements.findRun.get(projectId, runId) as { row_id: number; state: string } | undefined;
    this.#rowId = row?.row_id;
    this.header = parsed(row);
  }

  /** A new run has no row id until `write`. */
  get rowId(): number | bigint | undefined {
    return this.#rowId;
  }

  stage(stageId: string): Stage | undefined {
    return this.#rowId === undefined ? undefined : parsed(this.#statements.stage.get(this.#rowId, stageId));
  }

  artifact(artifactId: string): Artifact | undefined {
    return this.#rowId === undefined ? undefined : parsed(this.#statements.artifact.get(this.#rowId, artifactId));
  }

  approval(approvalId: string): Approval | undefined {
    return this.#rowId === undefined ? undefined : parsed(this.#statements.approval.get(this.#rowId, approvalId));
  }

  approvalCount(): number {
    return this.#rowId === undefined ? 0 : (this.#statements.approvalCount.get(this.#rowId) as { count: number }).count;
  }

  lastStarted(before: string): { startKey: string; stage: Stage } | undefined {
    if (this.#rowId === undefined) return undefined;
    const row = this.#statements.lastStarted.get(this.#rowId, before) as
      | { start_key: string; state: string }
      | undefined;
    return row && { startKey: row.start_key, stage: JSON.parse(row.state) as Stage };
  }

  *write({ header, stages, artifacts, approvals }: Changes): Generator<undefined, void> {
    const { insertRun, updateRun, moveRunOn, updateStage, putStage, putArtifact, putApproval } = this.#statements;
    const { status, createdAt, lastSeq } = header;
    const state = JSON.stringify(header);
    if (this.#rowId === undefined) {
      const inserted = insertRun.run(this.#projectId, this.#runId, status, createdAt, lastSeq, state);
      this.#rowId = inserted.lastInsertRowid;
    } else if (this.header?.createdAt === createdAt) moveRunOn.run(status, lastSeq, state, this.#rowId);
    else updateRun.run(status, createdAt, lastSeq, state, this.#rowId);
    const rowId = this.#rowId;
    let rows = 0;
    for (const [stageId, stage, stored] of stages) {
      const key = indexedKey(stage);
      const state = JSON.stringify(stage);
      if (stored && indexedKey(stored) === key) updateStage.run(lastSeq, state, rowId, stageId);
      else putStage.run(rowId, stageId, lastSeq, key, state);
      if (++rows % YIELD_ROWS === 0) yield;
    }
    for (const [artifactId, artifact] of artifacts) {
      putArtifact.run(rowId, artifactId, lastSeq, JSON.stringify(artifact));
      if (++rows % YIELD_ROWS === 0) yield;
    }
    for (const [approvalId, approval] of approvals) {
      putApproval.run(rowId, approvalId, lastSeq, approval.status, JSON.stringify(approval));
      if (++rows % YIELD_ROWS === 0) yield;
    }
  }
}

const indexedKey = (stage: Stage): string | null => (stage.status === 'running' ? startKey(stage) : null);
