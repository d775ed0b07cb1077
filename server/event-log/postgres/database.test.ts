import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { newLog } from '../../../tests/support/nodes.ts';
import { PostgresDatabase } from './database.ts';

const server = inject('postgres') as string;

describe.skipIf(server === undefined)('connections (PostgreSQL)', () => {
  test('[L16] a transaction is UNAVAILABLE if its connection ends, at a statement or between two, and the next one succeeds', async () => {
    const { url, sql } = await newLog(server);
    const database = new PostgresDatabase(url, () => undefined);
    onTestFinished(() => database.close());
    for (const run of [database.write.bind(database), database.snapshot.bind(database)]) {
      const during = run((query) => query({ text: 'SELECT pg_terminate_backend(pg_backend_pid())' }));
      await expect(during).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      const between = run(async (query) => {
        const [row] = await query<{ pid: number }>({ text: 'SELECT pg_backend_pid() AS pid' });
        await sql.query('SELECT pg_terminate_backend($1)', [row?.pid]);
        const isGone = async () =>
          (await sql.query('SELECT 1 FROM pg_stat_activity WHERE pid = $1', [row?.pid])).rowCount;
        await expect.poll(isGone).toBe(0);
        return query({ text: 'SELECT 1' });
      });
      await expect(between).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      expect(await run((query) => query({ text: 'SELECT 1 AS one' }))).toEqual([{ one: 1 }]);
    }
  });
});
