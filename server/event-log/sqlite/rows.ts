import type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite';
import type { Approval, Artifact, RunHeader, RunRows, Stage } from '../../../shared/run.ts';
import { startKey, startsAfter } from '../../../shared/run-order.ts';

/** Statements over the rows of runs, prepared once for a connection. */
export function prepareRowStatements(db: DatabaseSyncInstance) {
  return {
    findRun: db.prepare('SELECT row_id, state FROM runs WHERE project_id = ? AND run_id = ?'),
    insertRun: db.prepare(
      'INSERT INTO runs (project_id, run_id, status, created_at, last_seq, state) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    updateRun: db.prepare('UPDATE runs SET status = ?, created_at = ?, last_seq = ?, state = ? WHERE row_id = ?'),
    // Leaves the indexes of runs by creation alone.
    moveRunOn: db.prepare('UPDATE runs SET status = ?, last_seq = ?, state = ? WHERE row_id = ?'),
    stage: db.prepare('SELECT state FROM stages WHERE run_row = ? AND stage_id = ?'),
    artifact: db.prepare('SELECT state FROM artifacts WHERE run_row = ? AND artifact_id = ?'),
    approval: db.prepare('SELECT state FROM approvals WHERE run_row = ? AND approval_id = ?'),
    lastStarted: db.prepare(
      'SELECT start_key, state FROM stages WHERE run_row = ? AND start_key < ? ORDER BY start_key DESC LIMIT 1',
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

/** Rows of one kind: read from their table once, changed in memory, and known to be changed by being another object. */
class RowCache<Row> {
  readonly #rows = new Map<string, { stored: Row | undefined; now: Row | undefined }>();
  /** What the batch under way has changed, as it was before. */
  readonly #before = new Map<string, Row | undefined>();
  readonly #read: (id: string) => Row | undefined;
  readonly #onChange: (id: string, row: Row | undefined) => void;

  constructor(read: (id: string) => Row | undefined, onChange = (_id: string, _row?: Row) => {}) {
    this.#read = read;
    this.#onChange = onChange;
  }

  has(id: string): boolean {
    return this.#rows.has(id);
  }

  get(id: string): Row | undefined {
    return this.#entry(id).now;
  }

  put(id: string, row: Row): void {
    const { now } = this.#entry(id);
    if (!this.#before.has(id)) this.#before.set(id, now);
    this.#set(id, row);
  }

  accept(): void {
    this.#before.clear();
  }

  undo(): void {
    for (const [id, row] of this.#before) this.#set(id, row);
    this.#before.clear();
  }

  /** Each row that is not as its table has it. */
  *changed(): Iterable<[id: string, row: Row, stored: Row | undefined]> {
    for (const [id, { stored, now }] of this.#rows) if (now && now !== stored) yield [id, now, stored];
  }

  #entry(id: string) {
    const known = this.#rows.get(id);
    if (known) return known;
    const stored = this.#read(id);
    const entry = { stored, now: stored };
    this.#rows.set(id, entry);
    this.#onChange(id, stored);
    return entry;
  }

  #set(id: string, row: Row | undefined): void {
    this.#entry(id).now = row;
    this.#onChange(id, row);
  }
}

/**
 * The rows of one run for the length of one transaction: each is read at its first use and written once, by `write`,
 * however many batches change it. What a batch changed is to be accepted, or undone, before the next begins. Nothing is
 * written before `write`, and the tables must stay as they are until then.
 */
export class SqliteRows implements RunRows {
  readonly #statements: RowStatements;
  readonly #projectId: string;
  readonly #runId: string;
  /** Undefined for a run that has no row yet. */
  #rowId: number | bigint | undefined;
  #header: RunHeader | undefined;
  /** As it was before the batch under way, once that has one of its own. */
  #headerBefore: { header: RunHeader | undefined } | undefined;
  readonly #storedHeader: RunHeader | undefined;
  readonly #stages: RowCache<Stage>;
  readonly #artifacts: RowCache<Artifact>;
  readonly #approvals: RowCache<Approval>;
  /** Those in memory alone. */
  readonly #running = new Map<string, Stage>();
  /** The running stage that started last of those that are in the table alone, once it is asked for. */
  #lastStored: { startKey: string; stage: Stage } | 'unknown' | 'none' = 'unknown';

  constructor(statements: RowStatements, projectId: string, runId: string) {
    this.#statements = statements;
    this.#projectId = projectId;
    this.#runId = runId;
    const row = statements.findRun.get(projectId, runId) as { row_id: number; state: string } | undefined;
    this.#rowId = row?.row_id;
    this.#storedHeader = parsed(row);
    this.#header = this.#storedHeader;
    const reader =
      <Row>(statement: StatementSyncInstance) =>
      (id: string) =>
        row && parsed<Row>(statement.get(row.row_id, id));
    this.#stages = new RowCache<Stage>(reader(statements.stage), (id, stage) => {
      if (stage?.status === 'running') this.#running.set(id, stage);
      else this.#running.delete(id);
    });
    this.#artifacts = new RowCache<Artifact>(reader(statements.artifact));
    this.#approvals = new RowCache<Approval>(reader(statements.approval));
  }

  /** Undefined until {@link write} for a run that is new. */
  get rowId(): number | bigint | undefined {
    return this.#rowId;
  }

  header() {
    return this.#header;
  }
  /** One copy serves all events of a batch. */
  ownHeader() {
    const header = this.#header;
    if (header && !this.#headerBefore) this.putHeader({ ...header, order: { ...header.order } });
    return this.#header;
  }
  stage(stageId: string) {
    return this.#stages.get(stageId);
  }
  artifact(artifactId: string) {
    return this.#artifacts.get(artifactId);
  }
  approval(approvalId: string) {
    return this.#approvals.get(approvalId);
  }
  putHeader(header: RunHeader) {
    this.#headerBefore ??= { header: this.#header };
    this.#header = header;
  }
  putStage(stage: Stage) {
    this.#stages.put(stage.stageId, stage);
  }
  putArtifact(artifact: Artifact) {
    this.#artifacts.put(artifact.artifactId, artifact);
  }
  putApproval(approval: Approval) {
    this.#approvals.put(approval.approvalId, approval);
  }
  lastStarted() {
    let last = this.#lastStarted();
    for (const stage of this.#running.values()) {
      if (!last || startsAfter(stage, last)) last = stage;
    }
    return last;
  }

  /** The batch under way is taken in. */
  accept(): void {
    this.#headerBefore = undefined;
    for (const rows of [this.#stages, this.#artifacts, this.#approvals]) rows.accept();
  }

  /** The batch under way is refused. */
  undo(): void {
    if (this.#headerBefore) this.#header = this.#headerBefore.header;
    this.#headerBefore = undefined;
    for (const rows of [this.#stages, this.#artifacts, this.#approvals]) rows.undo();
  }

  /** Writes what changed. */
  write(): void {
    const header = this.#header;
    if (!header || header === this.#storedHeader) return;
    const { status, createdAt, lastSeq } = header;
    const state = JSON.stringify(header);
    const { insertRun, updateRun, moveRunOn } = this.#statements;
    if (this.#rowId === undefined) {
      const inserted = insertRun.run(this.#projectId, this.#runId, status, createdAt, lastSeq, state);
      this.#rowId = inserted.lastInsertRowid;
    } else if (this.#storedHeader?.createdAt === createdAt) moveRunOn.run(status, lastSeq, state, this.#rowId);
    else updateRun.run(status, createdAt, lastSeq, state, this.#rowId);
    const rowId = this.#rowId;
    for (const [stageId, stage, stored] of this.#stages.changed()) {
      const key = indexedKey(stage);
      const state = JSON.stringify(stage);
      if (stored && indexedKey(stored) === key) this.#statements.updateStage.run(lastSeq, state, rowId, stageId);
      else this.#statements.putStage.run(rowId, stageId, lastSeq, key, state);
    }
    for (const [artifactId, artifact] of this.#artifacts.changed()) {
      this.#statements.putArtifact.run(rowId, artifactId, lastSeq, JSON.stringify(artifact));
    }
    for (const [approvalId, approval] of this.#approvals.changed()) {
      this.#statements.putApproval.run(rowId, approvalId, lastSeq, approval.status, JSON.stringify(approval));
    }
  }

  /** The index knows the order; what is in memory it knows as it was, so that is passed over. */
  #lastStarted(): Stage | undefined {
    if (this.#rowId === undefined) return undefined;
    for (;;) {
      const last = this.#lastStored;
      if (last === 'none') return undefined;
      if (last !== 'unknown' && !this.#stages.has(last.stage.stageId)) return last.stage;
      const before = last === 'unknown' ? AFTER_ALL : last.startKey;
      const row = this.#statements.lastStarted.get(this.#rowId, before) as
        | { start_key: string; state: string }
        | undefined;
      this.#lastStored = row ? { startKey: row.start_key, stage: JSON.parse(row.state) as Stage } : 'none';
    }
  }
}

/** Sorts after every start key. */
const AFTER_ALL = '~';
const indexedKey = (stage: Stage): string | null => (stage.status === 'running' ? startKey(stage) : null);
