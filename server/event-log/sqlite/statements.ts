import type { DatabaseSyncInstance } from './driver.ts';

/** Rows that one statement inserts. With a statement for each row, a commit would cost a third more. */
export const INSERT_ROWS = 10;

/** Tables with many rows for each run. */
export type ChildTable = 'stages' | 'artifacts' | 'approvals';

const LISTED = 'row_id, created_at, project_id, run_id, state FROM runs';
const COUNTED = `row_id, created_at, status,
  status = 'failed' AND coalesce(state ->> '$.error.code', '') = 'CANCELLED' AS is_cancelled FROM runs`;
const open = (where: string) =>
  `SELECT status FROM runs INDEXED BY runs_open WHERE status NOT IN ('completed', 'failed') AND project_id ${where} LIMIT ?`;
/** Also the approvals of removed runs. */
const LISTED_APPROVALS = `SELECT coalesce(r.project_id, g.project_id) AS project_id, coalesce(r.run_id, g.run_id) AS run_id,
    coalesce(r.status, 'completed') AS status, a.run_row, a.status AS approval_status, a.request_seq,
    a.due_at, a.decided_at, a.state
  FROM approvals a LEFT JOIN runs r ON r.row_id = a.run_row LEFT JOIN removed_runs g ON g.row_id = a.run_row`;
/** A row stores the hash of the row before it: the hash prefix of row n is in row n + 1. */
const HASH_PREFIX = 'lower(hex(substr(n.prev_hash, 1, 4))) AS hash_prefix';
const JOIN_NEXT = 'LEFT JOIN events n ON n.seq = e.seq + 1';
const EVENT_COLUMNS = `e.seq, e.run_seq, e.project_id, r.run_id, e.type, e.payload, ${HASH_PREFIX} FROM events e`;
// Statements with a limit are read with `all`: stepping row by row costs twice as much.
const IN_ORDER = 'ORDER BY e.seq LIMIT ?';
const JOIN_RUN = `CROSS JOIN runs r ON r.row_id = e.run_row ${JOIN_NEXT}`;

/** The statements of the log, prepared once for a connection. */
export function prepareStatements(db: DatabaseSyncInstance) {
  const children = (table: ChildTable, id: string) =>
    db.prepare(
      `SELECT ${id} AS id, state FROM ${table} WHERE run_row = ? AND ${id} > ? AND last_seq > ? ORDER BY ${id}`,
    );
  const approvals = (where: string) =>
    db.prepare(
      `SELECT r.project_id, r.run_id, r.status, a.state FROM approvals a CROSS JOIN runs r ON r.row_id = a.run_row
       WHERE ${where}`,
    );
  const listed = (where: string) => db.prepare(`${LISTED_APPROVALS} WHERE ${where}`);
  const newestRuns = (columns: string, where: string) =>
    db.prepare(
      `SELECT ${columns} WHERE ${where} created_at >= ? AND (created_at, row_id) < (?, ?)
       ORDER BY created_at DESC, row_id DESC LIMIT ?`,
    );
  const newest = (where: string) =>
    `${where} AND (a.decided_at, a.request_seq) < (?, ?) ORDER BY a.decided_at DESC, a.request_seq DESC`;
  // Sorts the runs of one era after another (rows.ts), and reads the texts of those that it returns.
  const changed = (where: string) =>
    db.prepare(
      `SELECT r.row_id, r.last_seq, r.state FROM (SELECT row_id, last_seq FROM runs
         WHERE ${where} last_era >= ?1 >> 12 AND last_seq > ?1 ORDER BY last_era, last_seq LIMIT ?2) AS found
       CROSS JOIN runs r ON r.row_id = found.row_id ORDER BY found.last_seq`,
    );
  const inserts = (rows: number) =>
    db.prepare(
      `INSERT INTO events (seq, run_row, run_seq, project_id, type, event_id, actor, recorded_at_ms, payload, salt,
         payload_hash, prev_hash) VALUES ${Array(rows).fill('(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)').join(', ')}`,
    );
  return {
    begin: db.prepare('BEGIN IMMEDIATE'),
    commit: db.prepare('COMMIT'),
    dataVersion: db.prepare('PRAGMA data_version'),
    // One statement for all ids: for 100 ids it costs a fifth of 100 lookups.
    findEvents: db.prepare(
      `SELECT event_id, seq, run_seq FROM json_each(?) AS ids CROSS JOIN events ON event_id = ids.value
       WHERE project_id = ?`,
    ),
    seqOf: db.prepare('SELECT seq FROM events WHERE project_id = ? AND event_id = ?'),
    insertEvent: inserts(1),
    insertEvents: inserts(INSERT_ROWS),
    moveHead: db.prepare('UPDATE log_head SET seq = ?, hash = ? WHERE id = 1'),
    // 64 KiB, as the largest event: `secure_delete` writes the pages of the deleted row too.
    insertProbe: db.prepare(`INSERT OR REPLACE INTO meta (key, value) VALUES ('probe', hex(zeroblob(32768)))`),
    deleteProbe: db.prepare(`DELETE FROM meta WHERE key = 'probe'`),
    lastSeq: db.prepare(`SELECT max(seq) AS seq FROM events WHERE seq < ${Number.MAX_SAFE_INTEGER}`),
    insertUser: db.prepare('INSERT OR IGNORE INTO event_users (user_id, seq) VALUES (?, ?)'),
    readAll: db.prepare(`SELECT ${EVENT_COLUMNS} ${JOIN_RUN} WHERE e.seq > ? ${IN_ORDER}`),
    readProject: db.prepare(`SELECT ${EVENT_COLUMNS} ${JOIN_RUN} WHERE e.project_id = ? AND e.seq > ? ${IN_ORDER}`),
    readRun: db.prepare(
      `SELECT e.seq, e.run_seq, e.type, e.payload, ${HASH_PREFIX} FROM events e ${JOIN_NEXT}
       WHERE e.run_row = (SELECT row_id FROM runs WHERE project_id = ? AND run_id = ?) AND e.seq > ? ${IN_ORDER}`,
    ),
    scanRun: db.prepare(
      `SELECT seq, payload FROM events
       WHERE run_row = (SELECT row_id FROM runs WHERE project_id = ? AND run_id = ?) AND seq > ? ORDER BY seq LIMIT ?`,
    ),
    readUser: db.prepare(
      `SELECT ${EVENT_COLUMNS.replace('FROM events e', 'FROM event_users u CROSS JOIN events e ON e.seq = u.seq')}
       ${JOIN_RUN} WHERE u.user_id = ? AND u.seq > ? ORDER BY u.seq LIMIT ?`,
    ),
    hashPrefixes: db.prepare(
      `SELECT ids.value AS seq, ${HASH_PREFIX} FROM json_each(?) AS ids CROSS JOIN events n ON n.seq = ids.value + 1`,
    ),
    nameOf: db.prepare(`SELECT state ->> '$.name' AS name FROM runs WHERE project_id = ? AND run_id = ?`),
    hasRun: db.prepare('SELECT 1 FROM runs WHERE project_id = ? AND run_id = ?'),
    projectsOf: db.prepare('SELECT project_id FROM runs WHERE run_id = ? ORDER BY project_id'),
    children: {
      stages: children('stages', 'stage_id'),
      artifacts: children('artifacts', 'artifact_id'),
      approvals: children('approvals', 'approval_id'),
    },
    listAll: newestRuns(LISTED, ''),
    listProject: newestRuns(LISTED, 'project_id = ? AND'),
    listRun: newestRuns(LISTED, 'project_id = ? AND run_id = ? AND'),
    countAll: newestRuns(COUNTED, ''),
    countProject: newestRuns(COUNTED, 'project_id = ? AND'),
    openOfAll: db.prepare(open("> ''")),
    openOfProject: db.prepare(open('= ?')),
    nextProject: db.prepare('SELECT min(project_id) AS project_id FROM runs WHERE project_id > ?'),
    hasRuns: db.prepare('SELECT 1 FROM runs WHERE project_id = ? LIMIT 1'),
    countRunning: db.prepare(
      `SELECT count(*) AS running FROM (
         SELECT 1 FROM runs WHERE project_id = ? AND status NOT IN ('completed', 'failed') AND status = 'running' LIMIT ?)`,
    ),
    pendingApprovals: db.prepare(`SELECT state FROM approvals WHERE run_row = ? AND status = 'pending'`),
    // Each lists the approvals after a row of its order, given by the columns of the order.
    listApprovals: listed('a.request_seq < ? ORDER BY a.request_seq DESC'),
    listPending: listed(`a.status = 'pending' AND a.request_seq < ? ORDER BY a.request_seq DESC`),
    listDue: listed(`a.status = 'pending' AND (a.due_at, a.request_seq) > (?, ?) ORDER BY a.due_at, a.request_seq`),
    listDecided: listed(newest(`a.status IN ('granted', 'denied')`)),
    listExpired: listed(newest(`a.status = 'expired'`)),
    // SQLite merges two sorted lists.
    listAsked: db.prepare(
      `${LISTED_APPROVALS} WHERE a.request_actor = ? AND a.request_seq < ?
       UNION ALL
       ${LISTED_APPROVALS} WHERE a.requested_by = ? AND a.request_actor IS NOT a.requested_by AND a.request_seq < ?
       ORDER BY request_seq DESC`,
    ),
    nameOfRun: db.prepare("SELECT state ->> '$.name' AS name FROM runs WHERE row_id = ?"),
    placeOfApproval: db.prepare('SELECT due_at, decided_at FROM approvals WHERE request_seq = ?'),
    // One statement for many runs: most runs that end have no approval, and a call costs more than a lookup.
    pendingOfEndedRuns: db.prepare(
      `SELECT r.project_id, r.run_id, r.status, a.state FROM json_each(?) AS ids
       CROSS JOIN runs r ON r.project_id = ids.value ->> 0 AND r.run_id = ids.value ->> 1
       CROSS JOIN approvals a ON a.run_row = r.row_id
       WHERE a.status = 'pending' AND r.status IN ('completed', 'failed') LIMIT ?`,
    ),
    expiring: approvals(`a.status = 'pending' AND a.expires_at IS NOT NULL ORDER BY a.expires_at LIMIT ?`),
    changedRuns: changed(''),
    changedOfProject: changed('project_id = ?3 AND'),
    changedOfRun: changed('project_id = ?3 AND run_id = ?4 AND'),
    recordedAt: db.prepare('SELECT recorded_at_ms AS ms FROM events WHERE seq = ?'),
  };
}

export type LogStatements = ReturnType<typeof prepareStatements>;
