import { COMMIT, POSITION_BEFORE, ROWS } from './functions.ts';
import { outboxTables } from './outbox-schema.ts';

/**
 * The tables of the event log in PostgreSQL. Ids are compared by their bytes (collation "C"), as in SQLite. Logged events
 * and rows of runs are JSON in `text` columns: `jsonb` would reorder keys, and the hash chain covers the exact bytes.
 *
 * Positions (`seq`) are given inside the database, so no JSON of a run's rows contains one: `RunHeader.lastSeq`,
 * `Artifact.order.seq` and `Approval.order.seq` are columns (`last_seq`, `seq`, `request_seq`), and reads put them back.
 */

/** SQL of each migration. Item n migrates a database from version n to version n + 1. Never edit a released migration. */
export const migrations: readonly string[] = [
  `
  CREATE TABLE meta (key text COLLATE "C" PRIMARY KEY, value text NOT NULL);
  INSERT INTO meta (key, value) VALUES ('schema_version', '0');

  -- One row. Every transaction that gives positions, or removes or replaces events, locks it first.
  -- erasures: the number of erasures; cached texts of before an erasure are dropped when it changes.
  CREATE TABLE head (
    id integer PRIMARY KEY CHECK (id = 1),
    epoch text NOT NULL,
    -- Position at which the epoch began: later rows belong to it.
    epoch_seq bigint NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    recorded_at_ms bigint NOT NULL,
    oldest bigint NOT NULL,
    erasures bigint NOT NULL
  ) WITH (fillfactor = 10);

  -- One row for each kind of data that nodes keep in memory; the trigger or the writer counts its changes.
  CREATE TABLE revisions (name text COLLATE "C" PRIMARY KEY, revision bigint NOT NULL) WITH (fillfactor = 10);

  CREATE TABLE runs (
    row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    created_at text COLLATE "C" NOT NULL,
    last_seq bigint NOT NULL,
    -- Finds the runs that changed after a position. An index on last_seq itself would make each update of a run write every
    -- index of the table. This number changes at most once in 4,096 positions.
    last_era bigint NOT NULL GENERATED ALWAYS AS (last_seq >> 12) STORED,
    -- The version of the run's rows: nodes compare it with the version on which they have folded.
    last_run_seq bigint NOT NULL,
    state text NOT NULL,
    UNIQUE (project_id, run_id)
  ) WITH (fillfactor = 70);
  -- Indexes for all projects are on expressions: a statement on one project must not follow them (keyset.ts).
  CREATE INDEX runs_by_id ON runs (run_id, project_id);
  -- Row ids grow with the positions of the first events.
  CREATE INDEX runs_by_created ON runs ((created_at || ''), row_id);
  CREATE INDEX runs_by_project ON runs (project_id, created_at, row_id);
  CREATE INDEX runs_by_change ON runs ((last_era + 0));
  CREATE INDEX runs_by_project_change ON runs (project_id, last_era);
  CREATE INDEX runs_open ON runs (project_id, status) WHERE status NOT IN ('completed', 'failed');

  CREATE TABLE stages (
    run_row bigint NOT NULL,
    stage_id text COLLATE "C" NOT NULL,
    last_seq bigint NOT NULL,
    start_key text COLLATE "C",
    state text NOT NULL,
    PRIMARY KEY (run_row, stage_id)
  -- Room for the versions of stages that make progress together.
  ) WITH (fillfactor = 50);
  CREATE INDEX stages_running ON stages (run_row, start_key) WHERE start_key IS NOT NULL;

  CREATE TABLE artifacts (
    run_row bigint NOT NULL,
    artifact_id text COLLATE "C" NOT NULL,
    -- Position of the event that set the artifact; 0 if retention has removed the event.
    seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    state text NOT NULL,
    PRIMARY KEY (run_row, artifact_id)
  );

  -- The approvals of removed runs stay: project_id and run_id are of the row itself.
  CREATE TABLE approvals (
    run_row bigint NOT NULL,
    approval_id text COLLATE "C" NOT NULL,
    project_id text COLLATE "C" NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    -- Position of the request.
    request_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    status text COLLATE "C" NOT NULL,
    expires_at text COLLATE "C",
    decided_at text COLLATE "C",
    request_actor text COLLATE "C",
    requested_by text COLLATE "C",
    state text NOT NULL,
    PRIMARY KEY (run_row, approval_id)
  ) WITH (fillfactor = 70);
  CREATE INDEX approvals_pending ON approvals (run_row) WHERE status = 'pending';
  CREATE INDEX approvals_by_actor ON approvals (request_actor, request_seq);
  CREATE INDEX approvals_by_requester ON approvals (requested_by, request_seq) WHERE requested_by IS NOT NULL;
  -- Two indexes for each order of a list: of all projects, and of one. '~' sorts after every instant.
  CREATE INDEX approvals_by_request ON approvals ((request_seq + 0));
  CREATE INDEX approvals_by_project ON approvals (project_id, request_seq);
  CREATE INDEX approvals_open ON approvals ((request_seq + 0)) WHERE status = 'pending';
  CREATE INDEX approvals_open_of_project ON approvals (project_id, request_seq) WHERE status = 'pending';
  CREATE INDEX approvals_due ON approvals ((coalesce(expires_at, '~') || ''), request_seq) WHERE status = 'pending';
  CREATE INDEX approvals_due_of_project ON approvals (project_id, coalesce(expires_at, '~'), request_seq)
    WHERE status = 'pending';
  CREATE INDEX approvals_decided ON approvals ((decided_at || ''), request_seq) WHERE status IN ('granted', 'denied');
  CREATE INDEX approvals_decided_of_project ON approvals (project_id, decided_at, request_seq)
    WHERE status IN ('granted', 'denied');
  CREATE INDEX approvals_expired ON approvals ((decided_at || ''), request_seq) WHERE status = 'expired';
  CREATE INDEX approvals_expired_of_project ON approvals (project_id, decided_at, request_seq) WHERE status = 'expired';

  CREATE TABLE events (
    seq bigint PRIMARY KEY,
    run_row bigint NOT NULL,
    run_seq bigint NOT NULL,
    project_id text COLLATE "C" NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    recorded_at_ms bigint NOT NULL,
    payload text NOT NULL,
    -- Absent once the event is erased.
    salt bytea,
    payload_hash bytea NOT NULL,
    prev_hash bytea NOT NULL
  );
  CREATE INDEX events_by_run ON events (run_row, seq);
  CREATE INDEX events_by_project ON events (project_id, seq);
  -- The id comes first: a descent mostly compares one column.
  CREATE UNIQUE INDEX events_by_id ON events (event_id, project_id);
  -- Signed repairs of the clock: an event at or before seq counts as recorded at at_ms at the latest.
  CREATE TABLE clock_repairs (seq bigint PRIMARY KEY, at_ms bigint NOT NULL, repair text NOT NULL);

  CREATE TABLE event_users (
    user_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (user_id, seq)
  );
  CREATE INDEX event_users_by_seq ON event_users (seq);

  -- The index of words (search-index.ts). One row: each event up to position is in a stored block. A transaction that
  -- inserts, rewrites or deletes blocks locks the row (after the head's, if it locks both). version: counts insertions.
  -- indexed: the position up to which the server that feeds the index has read, about once a second.
  CREATE TABLE search_index (
    id integer PRIMARY KEY CHECK (id = 1),
    position bigint NOT NULL,
    version bigint NOT NULL,
    indexed bigint NOT NULL
  ) WITH (fillfactor = 20);
  INSERT INTO search_index (id, position, version, indexed) VALUES (1, 0, 0, 0);
  -- seqs: JSON of the positions, absent if they are contiguous. firsts: JSON of the first term of each chunk.
  CREATE TABLE search_blocks (
    block bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id text COLLATE "C" NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    seqs text,
    firsts text NOT NULL,
    terms_version integer NOT NULL
  );
  CREATE UNIQUE INDEX search_blocks_by_project ON search_blocks (project_id, last_seq);
  CREATE INDEX search_blocks_by_seq ON search_blocks (last_seq);
  CREATE INDEX search_blocks_by_version ON search_blocks (terms_version, block);
  CREATE TABLE search_chunks (
    block bigint NOT NULL,
    chunk integer NOT NULL,
    lines text NOT NULL,
    PRIMARY KEY (block, chunk)
  );

  -- Access entries. A write locks the row of access_head, so ids are contiguous in the order of the commits, and times
  -- never decrease along the ids.
  CREATE TABLE access_head (
    id integer PRIMARY KEY CHECK (id = 1),
    last_id bigint NOT NULL,
    at_ms bigint NOT NULL
  ) WITH (fillfactor = 20);
  INSERT INTO access_head (id, last_id, at_ms) VALUES (1, 0, 0);
  CREATE TABLE access (
    id bigint PRIMARY KEY,
    at_ms bigint NOT NULL,
    sub text COLLATE "C",
    action text COLLATE "C" NOT NULL,
    project_id text COLLATE "C",
    run_id text COLLATE "C",
    outcome text COLLATE "C" NOT NULL,
    via text COLLATE "C" NOT NULL,
    detail text COLLATE "C",
    count integer NOT NULL
  );
  CREATE INDEX access_by_time ON access (at_ms, id);
  CREATE INDEX access_by_project ON access (project_id, id) WHERE project_id IS NOT NULL;

  CREATE TABLE producer_state (
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text NOT NULL,
    written_at_ms bigint NOT NULL,
    PRIMARY KEY (scope, key)
  );
  CREATE INDEX producer_state_by_time ON producer_state (written_at_ms);

  -- Signed records. A checkpoint is signed once for a position of an epoch.
  CREATE TABLE checkpoints (seq bigint PRIMARY KEY, epoch text COLLATE "C" NOT NULL, checkpoint text NOT NULL);
  -- generation: head.erasures after the erasure. The nodes apply the erasures in this order.
  CREATE TABLE erasures (seq bigint PRIMARY KEY, generation bigint NOT NULL, erasure text NOT NULL);
  CREATE UNIQUE INDEX erasures_by_generation ON erasures (generation);

  -- Runs that retention has removed, until it has deleted their stages and artifacts.
  CREATE TABLE removed_runs (row_id bigint PRIMARY KEY);

  CREATE TABLE revocations (
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    at_ms bigint NOT NULL,
    until_ms bigint,
    PRIMARY KEY (kind, id)
  );
  CREATE TABLE sessions (id text COLLATE "C" PRIMARY KEY, sealed text NOT NULL, ends_at_ms bigint NOT NULL);

  CREATE TABLE webhooks (
    row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    record text NOT NULL,
    position text NOT NULL
  ) WITH (fillfactor = 50);
  CREATE TABLE webhook_pending (
    webhook bigint NOT NULL,
    seq bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    state text NOT NULL,
    PRIMARY KEY (webhook, seq, kind)
  );
  CREATE TABLE webhook_dead_letters (
    webhook bigint NOT NULL,
    seq bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    state text NOT NULL,
    PRIMARY KEY (webhook, seq, kind)
  );
  CREATE TABLE webhook_tries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook bigint NOT NULL,
    seq bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    at_ms bigint NOT NULL,
    state text NOT NULL,
    answer text NOT NULL
  );
  CREATE INDEX webhook_tries_by_webhook ON webhook_tries (webhook, id);
  CREATE INDEX webhook_tries_by_seq ON webhook_tries (seq, webhook);
  CREATE INDEX webhook_tries_by_time ON webhook_tries (at_ms);

  -- The servers that share the log. lease_until: when the other servers may take this one for gone.
  -- A commit reads the row of its server FOR KEY SHARE and compares the generation: raising it fences commits in doubt.
  -- The unique key makes such a raise wait for commits, while a renewal of the lease does not.
  CREATE TABLE nodes (
    node_id text COLLATE "C" PRIMARY KEY,
    generation bigint NOT NULL,
    lease_until timestamptz NOT NULL,
    -- The value of head.erasures that the node has applied to its memory.
    erasures bigint NOT NULL,
    state text NOT NULL,
    UNIQUE (node_id, generation)
  ) WITH (fillfactor = 20);
  -- Work that one node does for all: the holder renews until.
  CREATE TABLE leases (
    name text COLLATE "C" PRIMARY KEY,
    node_id text COLLATE "C" NOT NULL,
    lease_until timestamptz NOT NULL
  ) WITH (fillfactor = 20);
  ${POSITION_BEFORE}
  ${COMMIT}
  ${ROWS}
  ${outboxTables}
  `,
];
