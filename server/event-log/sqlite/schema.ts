import { RunwireError } from '../../../shared/errors.ts';
import { attest } from '../integrity/attestation.ts';
import { type ChainedRow, GENESIS, rowHash } from '../integrity/canonical.ts';
import type { AuditKeys } from '../integrity/keys.ts';
import type { DatabaseSyncInstance } from './driver.ts';

/** SQL, or a function that gets the connection and the signing keys. */
type Migration = string | ((db: DatabaseSyncInstance, keys: () => AuditKeys) => void);

/** Item n migrates a file from version n to version n + 1. Never edit a released migration. */
export const migrations: readonly Migration[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE runs (
    row_id INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    state TEXT NOT NULL,
    UNIQUE (project_id, run_id)
  );
  CREATE INDEX runs_by_id ON runs (run_id);
  CREATE INDEX runs_by_created ON runs (created_at, row_id);
  CREATE INDEX runs_by_project ON runs (project_id, created_at, row_id);
  CREATE INDEX runs_by_change ON runs (last_seq);
  CREATE TABLE stages (
    run_row INTEGER NOT NULL,
    stage_id TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    start_key TEXT,
    state TEXT NOT NULL,
    PRIMARY KEY (run_row, stage_id)
  ) WITHOUT ROWID;
  CREATE INDEX stages_running ON stages (run_row, start_key) WHERE start_key IS NOT NULL;
  CREATE TABLE artifacts (
    run_row INTEGER NOT NULL,
    artifact_id TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (run_row, artifact_id)
  ) WITHOUT ROWID;
  CREATE TABLE approvals (
    run_row INTEGER NOT NULL,
    approval_id TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    status TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (run_row, approval_id)
  ) WITHOUT ROWID;
  CREATE INDEX approvals_pending ON approvals (run_row) WHERE status = 'pending';
  CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    run_row INTEGER NOT NULL,
    run_seq INTEGER NOT NULL,
    project_id TEXT NOT NULL,
    type TEXT NOT NULL,
    event_id TEXT NOT NULL,
    actor TEXT NOT NULL,
    recorded_at_ms INTEGER NOT NULL,
    payload TEXT NOT NULL,
    salt BLOB NOT NULL,
    payload_hash BLOB NOT NULL,
    prev_hash BLOB NOT NULL
  );
  -- SQLite adds the rowid (seq) to every index: events_by_run and events_by_project are also ordered by seq.
  CREATE INDEX events_by_run ON events (run_row);
  CREATE UNIQUE INDEX events_by_id ON events (project_id, event_id);
  CREATE INDEX events_by_project ON events (project_id);
  CREATE TABLE event_users (
    user_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (user_id, seq)
  ) WITHOUT ROWID;
  CREATE INDEX event_users_by_seq ON event_users (seq);
  `,
  `
  ALTER TABLE approvals ADD COLUMN request_seq INTEGER GENERATED ALWAYS AS (json_extract(state, '$.order.seq')) VIRTUAL;
  ALTER TABLE approvals ADD COLUMN expires_at TEXT GENERATED ALWAYS AS (json_extract(state, '$.expiresAt')) VIRTUAL;
  CREATE INDEX approvals_by_request ON approvals (request_seq);
  CREATE INDEX approvals_pending_by_request ON approvals (request_seq) WHERE status = 'pending';
  CREATE INDEX approvals_expiring ON approvals (expires_at) WHERE status = 'pending';
  `,
  `
  CREATE TABLE revocations (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    until_ms INTEGER,
    PRIMARY KEY (kind, id)
  ) WITHOUT ROWID;
  `,
  (db, keys) => {
    db.exec(`
      CREATE TABLE log_head (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL);
      CREATE TABLE checkpoints (seq INTEGER PRIMARY KEY, checkpoint TEXT NOT NULL);
      CREATE TABLE erasures (seq INTEGER PRIMARY KEY, erasure TEXT NOT NULL);
    `);
    adoptEnds(db, keys);
  },
  `
  -- \`seqs\`: JSON of the positions, NULL if they are contiguous. \`firsts\`: JSON of the first term of each chunk.
  CREATE TABLE search_blocks (
    block INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    seqs TEXT,
    firsts TEXT NOT NULL
  );
  CREATE INDEX search_blocks_by_seq ON search_blocks (last_seq);
  CREATE INDEX search_blocks_by_project ON search_blocks (project_id, last_seq);
  CREATE TABLE search_chunks (chunk INTEGER PRIMARY KEY, lines TEXT NOT NULL);
  CREATE TABLE access (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    sub TEXT,
    action TEXT NOT NULL,
    project_id TEXT,
    run_id TEXT,
    outcome TEXT NOT NULL,
    via TEXT NOT NULL,
    detail TEXT,
    count INTEGER NOT NULL
  );
  CREATE INDEX access_by_time ON access (at_ms);
  CREATE INDEX access_by_project ON access (project_id) WHERE project_id IS NOT NULL;
  `,
  `
  CREATE TABLE producer_state (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    written_at_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
  ) WITHOUT ROWID;
  CREATE INDEX producer_state_by_time ON producer_state (written_at_ms);
  `,
  `
  CREATE TABLE clock_repairs (seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, repair TEXT NOT NULL);
  -- Runs that retention has removed: the approvals that are kept refer to them.
  CREATE TABLE removed_runs (
    row_id INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    is_cleared INTEGER NOT NULL DEFAULT 0
  );
  CREATE INDEX removed_runs_uncleared ON removed_runs (row_id) WHERE is_cleared = 0;
  `,
  `
  CREATE INDEX runs_by_project_change ON runs (project_id, last_seq);
  `,
  `
  ALTER TABLE search_blocks ADD COLUMN terms_version INTEGER NOT NULL DEFAULT 1;
  CREATE INDEX search_blocks_by_version ON search_blocks (terms_version);
  `,
  `
  CREATE INDEX runs_open ON runs (project_id, status) WHERE status NOT IN ('completed', 'failed');
  `,
  `
  ALTER TABLE approvals ADD COLUMN request_actor TEXT
    GENERATED ALWAYS AS (json_extract(state, '$.requestActor')) VIRTUAL;
  ALTER TABLE approvals ADD COLUMN requested_by TEXT GENERATED ALWAYS AS (json_extract(state, '$.requestedBy')) VIRTUAL;
  ALTER TABLE approvals ADD COLUMN decided_at TEXT GENERATED ALWAYS AS (json_extract(state, '$.decidedAt')) VIRTUAL;
  -- '~' sorts after every instant.
  ALTER TABLE approvals ADD COLUMN due_at TEXT
    GENERATED ALWAYS AS (coalesce(json_extract(state, '$.expiresAt'), '~')) VIRTUAL;
  CREATE INDEX approvals_by_actor ON approvals (request_actor, request_seq);
  CREATE INDEX approvals_by_requester ON approvals (requested_by, request_seq) WHERE requested_by IS NOT NULL;
  CREATE INDEX approvals_due ON approvals (due_at, request_seq) WHERE status = 'pending';
  CREATE INDEX approvals_decided ON approvals (decided_at, request_seq) WHERE status IN ('granted', 'denied');
  CREATE INDEX approvals_expired ON approvals (decided_at, request_seq) WHERE status = 'expired';
  -- The position of the event that set an artifact: 0 if retention has removed the event.
  UPDATE artifacts SET state = json_set(state, '$.order.seq', coalesce((
    SELECT e.seq FROM runs r CROSS JOIN events e ON e.project_id = r.project_id
    WHERE r.row_id = artifacts.run_row
      AND e.event_id = substr(artifacts.state ->> '$.order.key', instr(artifacts.state ->> '$.order.key', ' ') + 1)
  ), 0));
  `,
  `
  CREATE TABLE sessions (id TEXT PRIMARY KEY, sealed TEXT NOT NULL, ends_at_ms INTEGER NOT NULL) WITHOUT ROWID;
  `,
  `
  -- AUTOINCREMENT: rows of a removed webhook never belong to a new one.
  CREATE TABLE webhooks (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL,
    position TEXT NOT NULL
  );
  CREATE TABLE webhook_pending (
    webhook INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (webhook, seq, kind)
  ) WITHOUT ROWID;
  CREATE TABLE webhook_dead_letters (
    webhook INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (webhook, seq, kind)
  ) WITHOUT ROWID;
  CREATE TABLE webhook_tries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    answer TEXT NOT NULL
  );
  CREATE INDEX webhook_tries_by_webhook ON webhook_tries (webhook);
  CREATE INDEX webhook_tries_by_seq ON webhook_tries (seq);
  CREATE INDEX webhook_tries_by_time ON webhook_tries (at_ms);
  `,
  `
  -- 4,096 positions are an era. With an index on last_seq, each event would write the indexes of its run.
  DROP INDEX runs_by_change;
  DROP INDEX runs_by_project_change;
  ALTER TABLE runs ADD COLUMN last_era INTEGER NOT NULL DEFAULT 0;
  UPDATE runs SET last_era = last_seq >> 12;
  CREATE INDEX runs_by_change ON runs (last_era);
  CREATE INDEX runs_by_project_change ON runs (project_id, last_era);
  `,
];

/**
 * Stores the beginning and the end of the hash chain for a log of an older release, which did not store them. The rows are
 * trusted as they are: the file has nothing to check them against.
 */
function adoptEnds(db: DatabaseSyncInstance, keys: () => AuditKeys): void {
  const end = (order: string) =>
    db.prepare(`${CHAINED_ROWS} ORDER BY seq ${order} LIMIT 1`).get() as ChainedRow | undefined;
  const [first, last] = [end('ASC'), end('DESC')];
  db.prepare('INSERT INTO log_head (id, seq, hash) VALUES (1, ?, ?)').run(
    last?.seq ?? 0,
    last ? rowHash(last) : GENESIS,
  );
  if (!first || first.seq === 1) return;
  const { value: epoch } = db.prepare(`SELECT value FROM meta WHERE key = 'epoch'`).get() as { value: string };
  const hash = Buffer.from(first.prevHash).toString('hex');
  const trimming = attest(keys(), 'trimming', { epoch, seq: first.seq - 1, hash });
  db.prepare(`INSERT INTO meta (key, value) VALUES ('trimming', ?)`).run(JSON.stringify(trimming));
}

/**
 * Returns SQL for a column of whole numbers, with NULL for values outside JavaScript's safe range: SQLite's driver would
 * throw, and the row could not be verified.
 */
export const safeInteger = (column: string): string =>
  `CASE WHEN ${column} BETWEEN 0 AND ${Number.MAX_SAFE_INTEGER} THEN ${column} END`;

/** Selects the columns that the row hash covers. If an altered row refers to a run of another project, `runId` is NULL. */
export const CHAINED_ROWS = `SELECT seq, e.project_id AS projectId, run_id AS runId, ${safeInteger('run_seq')} AS runSeq,
    type, event_id AS eventId, actor, ${safeInteger('recorded_at_ms')} AS recordedAtMs, payload_hash AS payloadHash,
    prev_hash AS prevHash
  FROM events e LEFT JOIN runs r ON r.row_id = e.run_row AND r.project_id = e.project_id`;

/** "RWir": marks a file as a Runwire log, so that the server never writes into a foreign database. */
const APPLICATION_ID = 0x52576972;

const pragma = (db: DatabaseSyncInstance, name: string) =>
  Number(Object.values(db.prepare(`PRAGMA ${name}`).get() as object)[0]);

/** Throws `UNAVAILABLE` for the file of another program, or of another schema version than the newest. */
export function requireNewestSchema(db: DatabaseSyncInstance): void {
  if (pragma(db, 'application_id') !== APPLICATION_ID) {
    throw new RunwireError('UNAVAILABLE', 'the database file belongs to another program');
  }
  if (pragma(db, 'user_version') === migrations.length) return;
  throw new RunwireError(
    'UNAVAILABLE',
    'the database has an older or newer schema: start the server of this release on it once',
  );
}

/**
 * Migrates a new or older file to the newest schema. Throws `UNAVAILABLE` for the file of another program or of a newer
 * release.
 */
export function migrate(db: DatabaseSyncInstance, keys: () => AuditKeys): void {
  const applicationId = pragma(db, 'application_id');
  const version = pragma(db, 'user_version');
  const tables = Number(Object.values(db.prepare('SELECT count(*) FROM sqlite_schema').get() as object)[0]);
  if (tables > 0 && applicationId !== APPLICATION_ID) {
    throw new RunwireError('UNAVAILABLE', 'the database file belongs to another program');
  }
  if (version > migrations.length) {
    throw new RunwireError(
      'UNAVAILABLE',
      `the database has schema version ${version}, newer than version ${migrations.length} of this release: upgrade runwire`,
    );
  }
  for (let from = version; from < migrations.length; from++) {
    db.exec('BEGIN IMMEDIATE');
    try {
      const migration = migrations[from] as Migration;
      if (typeof migration === 'string') db.exec(migration);
      else migration(db, keys);
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
      db.exec(`PRAGMA user_version = ${from + 1}`);
      db.exec('COMMIT');
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK'); // On a full disk SQLite has already rolled back.
      throw error;
    }
  }
}
