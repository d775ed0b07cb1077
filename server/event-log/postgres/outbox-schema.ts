/**
 * The tables and functions of the outbox, a part of the first migration.
 *
 * `runwire_publish` and the trigger run with the rights of the schema's owner, so that a publishing role needs no right on a
 * table. Their search path has no schema in which another role may create objects, and they name the tables with their schema.
 *
 * `position` is the order of commits: the deferred trigger sets it at the end of the caller's transaction. The order of the
 * calls is another one where a transaction calls early and commits late. The trigger takes no lock, so transactions do not
 * wait for each other in it.
 */
export const outboxTables = `
  CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position bigint,
    actor text COLLATE "C" NOT NULL,
    called_at timestamptz NOT NULL,
    draft_count integer NOT NULL,
    bytes integer NOT NULL,
    -- An array of objects; null in place of the draft of an erased event.
    drafts jsonb NOT NULL
  ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
  CREATE INDEX outbox_in_order ON outbox (position NULLS FIRST, id);
  CREATE SEQUENCE outbox_positions OWNED BY outbox.position;

  -- Drafts that the server has refused, until they are published again, removed, or too old.
  CREATE TABLE outbox_refused (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor text COLLATE "C" NOT NULL,
    called_at timestamptz NOT NULL,
    refused_at timestamptz NOT NULL,
    code text NOT NULL,
    path text NOT NULL,
    message text NOT NULL,
    draft jsonb NOT NULL
  );
  CREATE INDEX outbox_refused_by_time ON outbox_refused (refused_at);
  -- A hash index takes texts of any length.
  CREATE INDEX outbox_refused_by_event ON outbox_refused USING hash ((draft ->> 'eventId'));

  DO $migration$ BEGIN
  EXECUTE replace(replace($schema$
    CREATE FUNCTION runwire_publish(drafts jsonb) RETURNS text[]
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    DECLARE
      items jsonb := CASE jsonb_typeof(drafts) WHEN 'object' THEN jsonb_build_array(drafts) ELSE drafts END;
      called timestamptz := clock_timestamp();
      defaults jsonb;
      wrong integer;
      size bigint;
      largest bigint;
      ids text[];
    BEGIN
      IF items IS NULL OR jsonb_typeof(items) <> 'array' THEN
        RAISE EXCEPTION 'runwire_publish: expected a draft, or an array of drafts' USING ERRCODE = '22023';
      END IF;
      IF jsonb_array_length(items) NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'runwire_publish: a call takes 1 to 1,000 drafts' USING ERRCODE = '22023';
      END IF;
      SELECT min(n) FILTER (WHERE jsonb_typeof(item) <> 'object'), sum(octet_length(item::text)),
          max(octet_length(item::text))
        INTO wrong, size, largest FROM jsonb_array_elements(items) WITH ORDINALITY AS e(item, n);
      IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'runwire_publish: the draft with index % is not an object', wrong - 1 USING ERRCODE = '22023';
      END IF;
      IF largest > 1048576 OR size > 8388608 THEN
        RAISE EXCEPTION 'runwire_publish: a draft has at most 1 MiB, and a call at most 8 MiB'
          USING ERRCODE = 'program_limit_exceeded';
      END IF;
      defaults := jsonb_build_object('timestamp', to_char(called AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
      -- Fixed here: a draft that is moved twice is logged once.
      SELECT jsonb_agg(ready ORDER BY n), array_agg(ready ->> 'eventId' ORDER BY n) INTO items, ids FROM (
        SELECT n, jsonb_build_object('eventId', gen_random_uuid()) || defaults || item AS ready
        FROM jsonb_array_elements(items) WITH ORDINALITY AS e(item, n)
      ) AS e;
      INSERT INTO @schema.outbox (actor, called_at, draft_count, bytes, drafts)
        VALUES ('postgres:' || coalesce(nullif(current_setting('role', true), 'none'), session_user), called,
          jsonb_array_length(items), size, items);
      PERFORM pg_notify('runwire_outbox', '');
      RETURN ids;
    END $body$;

    CREATE FUNCTION outbox_commits() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
    BEGIN
      UPDATE @schema.outbox SET position = nextval(@positions) WHERE id = NEW.id;
      RETURN NULL;
    END $body$;

    CREATE FUNCTION runwire_retry(refused_id bigint) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $body$
    DECLARE
      refused @schema.outbox_refused;
    BEGIN
      DELETE FROM @schema.outbox_refused WHERE id = refused_id RETURNING * INTO refused;
      IF NOT FOUND THEN RETURN false; END IF;
      INSERT INTO @schema.outbox (actor, called_at, draft_count, bytes, drafts)
        VALUES (refused.actor, refused.called_at, 1, octet_length(refused.draft::text), jsonb_build_array(refused.draft));
      PERFORM pg_notify('runwire_outbox', '');
      RETURN true;
    END $body$;

    CREATE CONSTRAINT TRIGGER outbox_commits AFTER INSERT ON @schema.outbox
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION outbox_commits();
    REVOKE ALL ON FUNCTION runwire_publish(jsonb) FROM PUBLIC;
    REVOKE ALL ON FUNCTION runwire_retry(bigint) FROM PUBLIC;
  $schema$, '@schema', quote_ident(current_schema())),
    '@positions', quote_literal(quote_ident(current_schema()) || '.outbox_positions'));
  END $migration$;
`;
