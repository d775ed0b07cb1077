import { describe, inject, onTestFinished } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import type { OpenLog, Place } from '../conformance/kit.ts';
import { describePersistence } from '../conformance/persistence.ts';
import { describeRunRemoval } from '../conformance/run-removal.ts';
import { describeWebhooks } from '../conformance/webhooks.ts';
import type { EventLog } from '../contract/store.ts';
import { openPostgresLog } from './log.ts';

const server = inject('postgres') as string;

describe.skipIf(server === undefined)('a log in PostgreSQL over restarts', () => {
  async function makePlace(): Promise<Place> {
    const url = await createDatabase(server);
    const open: EventLog[] = [];
    const remove = async () => {
      for (const log of open) await log.close();
      await dropDatabase(server, url);
    };
    onTestFinished(remove);
    return {
      remove,
      async open(options) {
        const log = await openPostgresLog({ url, fold: foldEvent, ...options });
        open.push(log);
        return log;
      },
    };
  }
  const openLog: OpenLog = async (options) => (await makePlace()).open(options);

  describeWebhooks(openLog);
  describeRunRemoval(openLog);
  describePersistence(makePlace);
});
