import { describe, inject, onTestFinished } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import type { Place } from '../conformance/kit.ts';
import { describeNodeTasks } from '../conformance/node-tasks.ts';
import { describeNodes } from '../conformance/nodes.ts';
import { describeOneNode } from '../conformance/one-node.ts';
import type { EventLog } from '../contract/store.ts';
import { openPostgresLog } from './log.ts';

const server = inject('postgres') as string;
async function makePlace(): Promise<Place> {
  const url = await createDatabase(server);
  const open: EventLog[] = [];
  onTestFinished(async () => {
    for (const log of open) await log.close();
    await dropDatabase(server, url);
  });
  return {
    async open(options) {
      const log = await openPostgresLog({ url, fold: foldEvent, ...options });
      open.push(log);
      return log;
    },
    remove: async () => {},
  };
}
describe.skipIf(server === undefined)('several nodes on one PostgreSQL', () => {
  describeOneNode(async (options) => (await makePlace()).open(options));
  describeNodes(makePlace);
  describeNodeTasks(makePlace);
});
