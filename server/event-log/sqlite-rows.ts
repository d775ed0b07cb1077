import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import { type Approval, type Artifact, type RunHeader, type RunRows, type Stage, startKey } from '../../shared/run.ts';

/** Statements over the rows of runs, prepared once for a connection. */
export function prepareRowStatements(db: DatabaseSyncInstance) {
  return {
    findRun: db.prepare('SELECT row_id, state FROM runs WHERE project_id = ? AND run_id = ?'),
    insertRun: db.prepare(
      `INSERT INTO runs (project_id, run_id, status, created_at, last_seq, state) VALUES (?, ?, '', '', 0, '')`,
    ),
    updateRun: db.prepare('UPDATE runs SET status = ?, created_at = ?, last_seq = ?, state = ? WHERE row_id = ?'),
    stage: db.prepare('SELECT state FROM stages WHERE run_row = ? AND stage_id = ?'),
    artifact: db.prepare('SELECT state FROM artifacts WHERE run_row = ? AND artifact_id = ?'),
    approval: db.prepare('SELECT state FROM approvals WHERE run_row = ? AND approval_id = ?'),
    lastStarted: db.prepare(
      'SELECT state FROM stages WHERE run_row = ? AND start_key IS NOT NULL ORDER BY start_key DESC LIMIT 1',
    ),
    putStage: db.prepare(
      `INSERT INTO stages (run_row, stage_id, last_seq, start_key, state) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET last_seq = excluded.last_seq, start_key = excluded.start_key, state = excluded.state`,
    ),
    // Leaves the index of running stages alone.
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

/**
 * The rows of one run for the length of one batch: read from the tables at first use, written back by `flush`. Lives
 * and dies inside the batch's savepoint, so a rollback leaves nothing behind.
 */
export class SqliteRows implements RunRows {
  readonly rowId: number | bigint;
  readonly #statements: RowStatements;
  #header: RunHeader | undefined;
  readonly #stages = new Map<string, Stage>();
  /** The `start_key` of each stage's row, as it is in the table. */
  readonly #startKeys = new Map<string, string | null>();
  readonly #artifacts = new Map<string, Artifact>();
  readonly #approvals = new Map<string, Approval>();
  readonly #dirty = { stages: new Set<string>(), artifacts: new Set<string>(), approvals: new Set<string>() };

  constructor(statements: RowStatements, projectId: string, runId: string) {
    this.#statements = statements;
    const row = statements.findRun.get(projectId, runId) as { row_id: number; state: string } | undefined;
    this.#header = parsed(row);
    this.rowId = row?.row_id ?? statements.insertRun.run(projectId, runId).lastInsertRowid;
  }

  header() {
    return this.#header;
  }
  stage(stageId: string) {
    const known = this.#stages.get(stageId);
    if (known) return known;
    const stage = parsed<Stage>(this.#statements.stage.get(this.rowId, stageId));
    if (stage) {
      this.#stages.set(stageId, stage);
      this.#startKeys.set(stageId, indexedKey(stage));
    }
    return stage;
  }
  artifact(artifactId: string) {
    return this.#artifacts.get(artifactId) ?? parsed<Artifact>(this.#statements.artifact.get(this.rowId, artifactId));
  }
  approval(approvalId: string) {
    return this.#approvals.get(approvalId) ?? parsed<Approval>(this.#statements.approval.get(this.rowId, approvalId));
  }
  putHeader(header: RunHeader) {
    this.#header = header;
  }
  putStage(stage: Stage) {
    this.#stages.set(stage.stageId, stage);
    this.#dirty.stages.add(stage.stageId);
  }
  putArtifact(artifact: Artifact) {
    this.#artifacts.set(artifact.artifactId, artifact);
    this.#dirty.artifacts.add(artifact.artifactId);
  }
  putApproval(approval: Approval) {
    this.#approvals.set(approval.approvalId, approval);
    this.#dirty.approvals.add(approval.approvalId);
  }
  lastStarted() {
    // The index knows the order, so what is only in memory has to go there first.
    this.#flushStages();
    return parsed<Stage>(this.#statements.lastStarted.get(this.rowId));
  }

  flush(): void {
    const header = this.#header;
    if (!header) return;
    this.#flushStages();
    for (const artifactId of this.#dirty.artifacts) {
      const state = JSON.stringify(this.#artifacts.get(artifactId));
      this.#statements.putArtifact.run(this.rowId, artifactId, header.lastSeq, state);
    }
    for (const approvalId of this.#dirty.approvals) {
      const approval = this.#approvals.get(approvalId) as Approval;
      const state = JSON.stringify(approval);
      this.#statements.putApproval.run(this.rowId, approvalId, header.lastSeq, approval.status, state);
    }
    this.#dirty.artifacts.clear();
    this.#dirty.approvals.clear();
    const { status, createdAt, lastSeq } = header;
    this.#statements.updateRun.run(status, createdAt, lastSeq, JSON.stringify(header), this.rowId);
  }

  #flushStages(): void {
    for (const stageId of this.#dirty.stages) {
      const stage = this.#stages.get(stageId) as Stage;
      const key = indexedKey(stage);
      const lastSeq = this.#header?.lastSeq ?? 0;
      const state = JSON.stringify(stage);
      if (this.#startKeys.get(stageId) === key) this.#statements.updateStage.run(lastSeq, state, this.rowId, stageId);
      else this.#statements.putStage.run(this.rowId, stageId, lastSeq, key, state);
      this.#startKeys.set(stageId, key);
    }
    this.#dirty.stages.clear();
  }
}

const indexedKey = (stage: Stage): string | null => (stage.status === 'running' ? startKey(stage) : null);
