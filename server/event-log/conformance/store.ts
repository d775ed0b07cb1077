import { describe, onTestFinished } from 'vitest';
import type { EventLog } from '../contract/store.ts';
import { describeAccess } from './access.ts';
import { describeApprovals } from './approvals.ts';
import { describeIntegrity } from './integrity.ts';
import type { OpenLog, Place } from './kit.ts';
import { describeLog } from './log.ts';
import { describePersistence } from './persistence.ts';
import { describeProducerState } from './producer-state.ts';
import { describeRevocations } from './revocations.ts';
import { describeRuns } from './runs.ts';
import { describeSearch } from './search.ts';
import { describeSessions } from './sessions.ts';
import { describeWebhooks } from './webhooks.ts';

/**
 * The suite that every store must pass: it tests each MUST of `contract/`, with one file for each contract. A store's own
 * test file calls this function. `newPlace` must return a place for a new, empty log at each call.
 */
export function describeEventLog(name: string, newPlace: () => Promise<Place>, { isPersistent = true } = {}): void {
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
    describeRuns(openLog);
    describeApprovals(openLog);
    describeSearch(openLog);
    describeAccess(openLog);
    describeRevocations(openLog);
    describeSessions(openLog);
    describeProducerState(openLog);
    describeWebhooks(openLog);
    describeIntegrity(openLog);
    if (isPersistent) describePersistence(makePlace);
  });
}
