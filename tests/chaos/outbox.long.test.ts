import { expect, test } from 'vitest';
import { postgresPrograms } from '../support/postgres.ts';
import { crashOutbox } from './outbox.ts';

/** A part of `npm run chaos -- --outbox 500`, so that a run of all tests stays short. */

test.skipIf(postgresPrograms === undefined)(
  '[M31] [M33] after 150 crashes between COMMIT and delivery, no event is lost, repeated or of a rolled-back transaction (PostgreSQL)',
  { timeout: 600_000 },
  async () => {
    const { problems, crashes, events } = await crashOutbox({ crashes: 150, seed: 1 });
    expect(problems).toEqual([]);
    expect(Object.values(crashes).reduce((sum, count) => sum + count, 0)).toBe(150);
    expect(events).toBeGreaterThan(150);
  },
);
