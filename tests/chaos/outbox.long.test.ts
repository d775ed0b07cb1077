import { expect, test } from 'vitest';
import { postgresPrograms } from '../support/postgres.ts';
import { crashOutbox } from './outbox.ts';

test.skipIf(postgresPrograms === undefined)(
  '[M31] [M33] after 500 crashes between COMMIT and delivery, no event is lost, repeated or of a rolled-back transaction (PostgreSQL)',
  { timeout: 1_800_000 },
  async () => {
    const { problems, crashes, events } = await crashOutbox({ crashes: 500, seed: 1 });
    expect(problems).toEqual([]);
    expect(Object.values(crashes).reduce((sum, count) => sum + count, 0)).toBe(500);
    expect(events).toBeGreaterThan(500);
  },
);
