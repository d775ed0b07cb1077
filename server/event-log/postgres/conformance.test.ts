import { describe, inject } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import type { Place } from '../conformance/kit.ts';
import { describeEventLog } from '../conformance/store.ts';
import { openPostgresLog } from './log.ts';

const server = inject('postgres') as string;

/** A database of its own for each place. */
async function newPlace(): Promise<Place> {
  const url = await createDatabase(server);
  return {
    open: (options) => openPostgresLog({ url, fold: foldEvent, ...options }),
    remove: () => dropDatabase(server, url),
  };
}

describe.skipIf(server === undefined)('the store in PostgreSQL', () => {
  describeEventLog('PostgreSQL', newPlace, { hasNodes: true });
});
