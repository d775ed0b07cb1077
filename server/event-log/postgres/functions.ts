/** Functions in PL/pgSQL, which migrations create. */

/**
 * Returns the last position in (`low`, `high`] with a `recordedAt` before an instant; `low` if there is none. A binary search
 * works because positions are contiguous, and times never decrease along them once repairs of the clock are counted.
 */
export const POSITION_BEFORE = `
  CREATE FUNCTION runwire_position_before(before_ms bigint, low bigint, high bigint) RETURNS bigint
  LANGUAGE plpgsql STABLE AS $$
  DECLARE
    middle bigint;
    at_ms bigint;
  BEGIN
    WHILE low < high LOOP
      middle := (low + high + 1) / 2;
      SELECT least(e.recorded_at_ms, (SELECT min(c.at_ms) FROM clock_repairs c WHERE c.seq >= e.seq)) INTO at_ms
        FROM events e WHERE e.seq = middle;
      IF at_ms < before_ms THEN low := middle; ELSE high := middle - 1; END IF;
    END LOOP;
    RETURN low;
  END $$;
`;

// Texts of many rows travel in one parameter, with chr(1) between them: no id and no JSON contains it, and an array would
// need an escape for each quote.
const texts = (name: string) => `string_to_array(${name}, chr(1), '')`;

/**
 * Logs events in one statement: locks the head, compares what the node has folded on with what is stored, gives positions,
 * time and hashes, and writes every row.
 *
 * - `i_`: the node and its generation; the epoch and the number of erasures on which it folded; the time (NULL: the clock of
 *   the database). `i_base`: NULL, or, for the further parts of a large commit, the position before its first event.
 * - `r_`: the runs. The first `i_stored` are stored and change, the next `i_new` are new, the others do not change. `r_row`:
 *   row id, 0 for a run that is not stored. `r_version`, `r_next`: `last_run_seq` before and after. `r_last`: number of the
 *   run's last event in the commit.
 * - `k_`: ids of events that a check has refused: a duplicate is not checked.
 * - `e_`: the events, `u_`: their users, `s_`, `a_`, `p_`: changed stages (the first `i_stages` are stored), artifacts and
 *   approvals. `…_run`, `u_event`: number in the list, from 1. The JSON of an event is `e_a`, `recordedAt`, `e_b`, `seq`,
 *   `e_c`. A position of an artifact or a request that is negative is the number of an event.
 *
 * `o_outcome`: `done`; or, with nothing written, `renewed` (epoch or erasures differ), `fenced` (the node has another
 * generation), `stale` (a run has another version) or `known` (an event id is stored). `o_hashes`: 4 bytes of the hash of
 * the row before the first event, and of each event. `o_rows`: row ids of the runs that are written.
 *
 * The unique index finds the known ids: a look-up before would descend its tree once more for each event. Rows are made of
 * numbers and subscripts: `unnest` would store each array once more.
 */
export const COMMIT = `
  CREATE FUNCTION runwire_commit(
    i_node text, i_generation bigint, i_epoch text, i_erasures bigint, i_now bigint, i_base bigint,
    i_stored int, i_new int, i_stages int,
    r_row bigint[], r_version bigint[], r_next bigint[], r_last bigint[],
    r_project text, r_run text, r_status text, r_created text, r_state text,
    e_run int[], e_run_seq bigint[], e_type text, e_event text, e_actor text, e_a text, e_b text, e_c text, e_mid text,
    e_salt bytea, k_run int[], k_event text,
    u_event int[], u_user text,
    s_run int[], s_id text, s_key text, s_state text,
    a_run int[], a_seq bigint[], a_id text, a_state text,
    p_run int[], p_seq bigint[], p_id text, p_status text, p_expires text, p_decided text, p_actor text, p_by text, p_state text,
    OUT o_outcome text, OUT o_base bigint, OUT o_at bigint, OUT o_hash bytea, OUT o_hashes bytea, OUT o_rows bigint[],
    OUT o_epoch text, OUT o_erasures bigint)
  LANGUAGE plpgsql AS $$
  DECLARE
    projects text[] := ${texts('r_project')};
    runs text[] := ${texts('r_run')};
    statuses text[] := ${texts('r_status')};
    created text[] := ${texts('r_created')};
    states text[] := ${texts('r_state')};
    types text[] := ${texts('e_type')};
    event_ids text[] := ${texts('e_event')};
    actors text[] := ${texts('e_actor')};
    mids text[] := ${texts('e_mid')};
    json_a text[] := ${texts('e_a')};
    json_b text[] := ${texts('e_b')};
    json_c text[] := ${texts('e_c')};
    stage_ids text[];
    stage_keys text[];
    stage_states text[];
    events int := cardinality(e_run);
    stages int := cardinality(s_run);
    before_seq bigint;
    new_row bigint;
    iso text;
    broken text;
    payloads text[] := '{}';
    hashed bytea[] := '{}';
    previous bytea[] := '{}';
  BEGIN
    SELECT h.seq, h.hash, h.recorded_at_ms, h.epoch, h.erasures INTO before_seq, o_hash, o_at, o_epoch, o_erasures
      FROM head h WHERE h.id = 1 FOR UPDATE;
    IF i_base IS NULL THEN
      IF o_epoch <> i_epoch OR o_erasures <> i_erasures THEN o_outcome := 'renewed'; RETURN; END IF;
      PERFORM 1 FROM nodes n WHERE n.node_id = i_node AND n.generation = i_generation FOR KEY SHARE;
      IF NOT FOUND THEN o_outcome := 'fenced'; RETURN; END IF;
      PERFORM 1 FROM generate_series(1, i_stored) i
        LEFT JOIN LATERAL (SELECT x.last_run_seq FROM runs x WHERE x.row_id = r_row[i] LIMIT 1) y ON true
        WHERE y.last_run_seq IS DISTINCT FROM r_version[i] LIMIT 1;
      IF FOUND THEN o_outcome := 'stale'; RETURN; END IF;
      IF cardinality(r_row) > i_stored THEN
        PERFORM 1 FROM generate_series(i_stored + 1, cardinality(r_row)) i
          LEFT JOIN LATERAL (
            SELECT x.row_id, x.last_run_seq FROM runs x WHERE x.project_id = projects[i] AND x.run_id = runs[i] LIMIT 1) y
            ON true
          WHERE (coalesce(y.row_id, 0), coalesce(y.last_run_seq, 0)) <> (r_row[i], r_version[i]) LIMIT 1;
        IF FOUND THEN o_outcome := 'stale'; RETURN; END IF;
      END IF;
      IF cardinality(k_run) > 0 THEN
        PERFORM 1 FROM unnest(k_run, ${texts('k_event')}) u(run, event_id)
          CROSS JOIN LATERAL (
            SELECT 1 FROM events x WHERE x.event_id = u.event_id AND x.project_id = projects[u.run] LIMIT 1) y
          LIMIT 1;
        IF FOUND THEN o_outcome := 'known'; RETURN; END IF;
      END IF;
    END IF;

    o_outcome := 'done';
    o_base := coalesce(i_base, before_seq);
    o_at := greatest(o_at, coalesce(i_now, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint));
    iso := to_char(to_timestamp(o_at / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
    o_rows := r_row;
    o_hashes := substr(o_hash, 1, 4);
    FOR i IN 1 .. events LOOP
      payloads[i] := json_a[i] || iso || json_b[i] || (before_seq + i) || json_c[i];
      hashed[i] := sha256(substr(e_salt, i * 16 - 15, 16) || convert_to(payloads[i], 'UTF8'));
      previous[i] := o_hash;
      o_hash := sha256(convert_to('[' || (before_seq + i) || mids[i] || o_at || ']', 'UTF8') || o_hash || hashed[i]);
      o_hashes := o_hashes || substr(o_hash, 1, 4);
    END LOOP;
    -- A subtransaction: a row that it and the transaction both lock or change would need a multixact.
    BEGIN
      IF i_base IS NULL THEN
        FOR i IN i_stored + 1 .. i_stored + i_new LOOP
          INSERT INTO runs (project_id, run_id, status, created_at, last_seq, last_run_seq, state)
            VALUES (projects[i], runs[i], statuses[i], created[i], o_base + r_last[i], r_next[i], states[i])
            RETURNING row_id INTO new_row;
          o_rows[i] := new_row;
        END LOOP;
      END IF;
      INSERT INTO events (seq, run_row, run_seq, project_id, run_id, type, event_id, actor, recorded_at_ms, payload, salt,
          payload_hash, prev_hash)
        SELECT before_seq + i, o_rows[e_run[i]], e_run_seq[i], projects[e_run[i]], runs[e_run[i]], types[i], event_ids[i],
          actors[i], o_at, payloads[i], substr(e_salt, i * 16 - 15, 16), hashed[i], previous[i]
        FROM generate_series(1, events) i;
    EXCEPTION WHEN unique_violation THEN
      GET STACKED DIAGNOSTICS broken = CONSTRAINT_NAME;
      IF broken <> 'events_by_id' THEN RAISE; END IF;
      o_outcome := 'known';
      RETURN;
    END;
    IF i_base IS NULL THEN
      UPDATE runs x SET status = statuses[i], created_at = created[i], last_seq = o_base + r_last[i],
          last_run_seq = r_next[i], state = states[i]
        FROM generate_series(1, i_stored) i WHERE x.row_id = r_row[i];
    END IF;
    IF events > 0 THEN
      UPDATE head h SET seq = before_seq + events, hash = o_hash, recorded_at_ms = o_at WHERE h.id = 1;
    END IF;
    IF cardinality(u_event) > 0 THEN
      INSERT INTO event_users (user_id, seq)
        SELECT u.user_id, before_seq + u.event FROM unnest(u_event, ${texts('u_user')}) u(event, user_id);
    END IF;
    IF stages > 0 THEN
      stage_ids := ${texts('s_id')};
      stage_keys := ${texts('s_key')};
      stage_states := ${texts('s_state')};
      UPDATE stages x SET last_seq = o_base + r_last[s_run[i]], start_key = stage_keys[i], state = stage_states[i]
        FROM generate_series(1, i_stages) i WHERE x.run_row = o_rows[s_run[i]] AND x.stage_id = stage_ids[i];
      INSERT INTO stages (run_row, stage_id, last_seq, start_key, state)
        SELECT o_rows[s_run[i]], stage_ids[i], o_base + r_last[s_run[i]], stage_keys[i], stage_states[i]
        FROM generate_series(i_stages + 1, stages) i;
    END IF;
    IF cardinality(a_run) > 0 THEN
      INSERT INTO artifacts (run_row, artifact_id, seq, last_seq, state)
        SELECT o_rows[u.run], u.id, CASE WHEN u.seq < 0 THEN o_base - u.seq ELSE u.seq END, o_base + r_last[u.run], u.state
        FROM unnest(a_run, a_seq, ${texts('a_id')}, ${texts('a_state')}) u(run, seq, id, state)
        ON CONFLICT (run_row, artifact_id) DO UPDATE
          SET seq = excluded.seq, last_seq = excluded.last_seq, state = excluded.state;
    END IF;
    IF cardinality(p_run) > 0 THEN
      INSERT INTO approvals (run_row, approval_id, project_id, run_id, request_seq, last_seq, status, expires_at, decided_at,
          request_actor, requested_by, state)
        SELECT o_rows[u.run], u.id, projects[u.run], runs[u.run], CASE WHEN u.seq < 0 THEN o_base - u.seq ELSE u.seq END,
          o_base + r_last[u.run], u.status, u.expires, u.decided, u.actor, u.requested_by, u.state
        FROM unnest(p_run, p_seq, ${texts('p_id')}, ${texts('p_status')}, ${texts('p_expires')}, ${texts('p_decided')},
          ${texts('p_actor')}, ${texts('p_by')}, ${texts('p_state')})
          u(run, seq, id, status, expires, decided, actor, requested_by, state)
        ON CONFLICT (run_row, approval_id) DO UPDATE
          SET request_seq = excluded.request_seq, last_seq = excluded.last_seq, status = excluded.status,
            expires_at = excluded.expires_at, decided_at = excluded.decided_at, request_actor = excluded.request_actor,
            requested_by = excluded.requested_by, state = excluded.state;
    END IF;
  END $$;
`;

/**
 * Returns rows of runs, of one moment. `r_row`, `r_version`: the version that the node has. `k_`: rows of these runs that it
 * needs; `k_cached`: it has the row of its version.
 *
 * Kind `run`: a run and its version; without `o_state` if the node has that version. `stage`, `artifact`, `approval`: a row.
 * `running`: the running stages with a start key below `k_id`, the last started first. `approvals`: `o_seq` is their number.
 */
export const ROWS = `
  CREATE FUNCTION runwire_rows(
    r_row bigint[], r_version bigint[], r_project text, r_run text, k_run int[], k_cached boolean[], k_kind text, k_id text)
  RETURNS TABLE (o_kind text, o_run int, o_id text, o_row bigint, o_version bigint, o_seq bigint, o_state text)
  LANGUAGE plpgsql STABLE AS $$
  DECLARE
    kinds text[] := ${texts('k_kind')};
    ids text[] := ${texts('k_id')};
    row_ids bigint[];
    wanted boolean[];
  BEGIN
    SELECT array_agg(x.row_id),
        array_agg(x.row_id IS NOT NULL AND (x.row_id <> u.row_id OR x.last_run_seq <> u.version))
      INTO row_ids, wanted
      FROM unnest(r_row, r_version, ${texts('r_project')}, ${texts('r_run')}) u(row_id, version, project_id, run_id)
      LEFT JOIN LATERAL (
        SELECT y.row_id, y.last_run_seq FROM runs y WHERE y.project_id = u.project_id AND y.run_id = u.run_id LIMIT 1) x ON true;
    RETURN QUERY SELECT 'run', u.i::int, NULL, x.row_id, x.last_run_seq, x.last_seq, CASE WHEN wanted[u.i] THEN x.state END
      FROM unnest(row_ids) WITH ORDINALITY u(row_id, i)
      CROSS JOIN LATERAL (SELECT * FROM runs y WHERE y.row_id = u.row_id LIMIT 1) x;
    IF cardinality(k_run) = 0 THEN RETURN; END IF;
    RETURN QUERY SELECT 'stage', u.run, u.id, NULL::bigint, NULL::bigint, NULL::bigint, x.state
      FROM unnest(k_run, k_cached, kinds, ids) u(run, cached, kind, id)
      CROSS JOIN LATERAL (SELECT y.state FROM stages y WHERE y.run_row = row_ids[u.run] AND y.stage_id = u.id LIMIT 1) x
      WHERE u.kind = 'stage' AND (wanted[u.run] OR NOT u.cached);
    IF 'artifact' = ANY (kinds) THEN
      RETURN QUERY SELECT 'artifact', u.run, u.id, NULL::bigint, NULL::bigint, x.seq, x.state
        FROM unnest(k_run, k_cached, kinds, ids) u(run, cached, kind, id)
        CROSS JOIN LATERAL (
          SELECT y.seq, y.state FROM artifacts y WHERE y.run_row = row_ids[u.run] AND y.artifact_id = u.id LIMIT 1) x
        WHERE u.kind = 'artifact' AND (wanted[u.run] OR NOT u.cached);
    END IF;
    IF 'approval' = ANY (kinds) THEN
      RETURN QUERY SELECT 'approval', u.run, u.id, NULL::bigint, NULL::bigint, x.request_seq, x.state
        FROM unnest(k_run, k_cached, kinds, ids) u(run, cached, kind, id)
        CROSS JOIN LATERAL (
          SELECT y.request_seq, y.state FROM approvals y WHERE y.run_row = row_ids[u.run] AND y.approval_id = u.id LIMIT 1) x
        WHERE u.kind = 'approval' AND (wanted[u.run] OR NOT u.cached);
    END IF;
    IF 'running' = ANY (kinds) THEN
      RETURN QUERY SELECT 'running', u.run, x.start_key, NULL::bigint, NULL::bigint, NULL::bigint, x.state
        FROM unnest(k_run, k_cached, kinds, ids) u(run, cached, kind, id)
        CROSS JOIN LATERAL (
          SELECT y.start_key, y.state FROM stages y WHERE y.run_row = row_ids[u.run] AND y.start_key < u.id
          ORDER BY y.start_key DESC LIMIT 4) x
        WHERE u.kind = 'running' AND (wanted[u.run] OR NOT u.cached);
    END IF;
    IF 'approvals' = ANY (kinds) THEN
      RETURN QUERY SELECT 'approvals', u.run, NULL, NULL::bigint, NULL::bigint, x.count, NULL
        FROM unnest(k_run, k_cached, kinds, ids) u(run, cached, kind, id)
        CROSS JOIN LATERAL (SELECT count(*) AS count FROM approvals y WHERE y.run_row = row_ids[u.run]) x
        WHERE u.kind = 'approvals' AND (wanted[u.run] OR NOT u.cached);
    END IF;
  END $$;
`;
