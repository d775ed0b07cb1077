import { describe, onTestFinished } from 'vitest';
import type { EventLog } from '../contract/store.ts';
import { describeAccess } from './access.ts';
import { describeApprovals } from './approvals.ts';
import { describeIntegrity } from './integrity.ts';
import type { OpenLog, Place } from './kit.ts';
import { describeLog } from './log.ts';
import { describeNodeTasks } from './node-tasks.ts';
import { describeNodes } from './nodes.ts';
import { describeOneNode } from './one-node.ts';
import { describePersistence } from './persistence.ts';
import { describeProducerState } from './producer-state.ts';
import { describeReads } from './reads.ts';
import { describeRevocations } from './revocations.ts';
import { describeRunRemoval } from './run-removal.ts';
import { describeRuns } from './runs.ts';
import { describeSearch } from './search.ts';
import { describeSessions } from './sessions.ts';
import { describeWebhooks } from './webhooks.ts';

/**
 * The suite that every store must pass: it tests each MUST of `contract/`, with one file for each contract. A store's own
 * test file calls this function. `newPlace` must return a place for a new, empty log at each call. `hasNodes`: each
 * `open` of a place returns another node of its log.
 */
export function describeEventLog(
  name: string,
  newPlace: () => Promise<Place>,
  { isPersistent = true, hasNodes = false } = {},
): void {
  async function makePlace(): Promise<Place> {
    const place = await newPlace();
    const open: EventLog[] = [];
    onTestFinished(async () => {
      for (const log of open) await log.close();
      await place.remove();
    });
    return {
      ...place,
      async open(options) {
        const log = await place.open(options);
        open.push(log);
        return log;
      },
    };
  }
  const openLog: OpenLog = async (options) => (await makePlace()).open(options);

  describe(name, () => {
    describeLog(openLog);
    describeReads(openLog);
    describeRuns(openLog);
    describeRunRemoval(openLog);
    describeApprovals(openLog);
    describeSearch(openLog);
    describeAccess(openLog);
    describeRevocations(openLog);
    describeSessions(openLog);
    describeProducerState(openLog);
    describeWebhooks(openLog);
    describeIntegrity(openLog);
    describeOneNode(openLog);
    if (hasNodes) {
      describeNodes(makePlace);
      describeNodeTasks(makePlace);
    }
    if (isPersistent) describePersistence(makePlace);
  });
}
