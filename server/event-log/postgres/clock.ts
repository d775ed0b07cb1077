import type { Query } from './database.ts';

/** SQL of the database's clock: Unix ms. It goes on during a transaction. */
export const CLOCK_MS = 'floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint';

export type ClockOf = (query: Query) => Promise<number>;

/** Returns the clock of the log: the database's, which all nodes share, or `now` of a test. */
export const clockOf =
  (now: (() => number) | undefined): ClockOf =>
  async (query) => {
    if (now) return now();
    const [row] = await query<{ ms: number }>({ text: `SELECT ${CLOCK_MS} AS ms` });
    return row?.ms as number;
  };
