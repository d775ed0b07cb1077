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
