import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { StoredEvent } from '../event-log/contract/log.ts';
import { DecisionWaiters } from './waiting.ts';

const record = (seq: number) => ({ seq, type: 'stage.progress', runId: 'other' }) as StoredEvent;

test('[M15] the waiter for a decision reads again after rows that its node has skipped, and not after other events', async () => {
  const waiters = new DecisionWaiters();
  waiters.committed([record(1), record(2)]);
  let reads = 0;
  let outcome: string | undefined;
  const waiting = waiters.wait({ runId: 'r1', approvalId: 'a' }, async () => {
    reads++;
    return outcome;
  });
  waiters.committed([record(3)]);
  waiters.committed([record(4), record(5)]);
  await setImmediate();
  expect(reads).toBe(1);
  outcome = 'granted'; // In a row after 5, which retention has removed.
  waiters.committed([record(9)]);
  expect(await waiting).toBe('granted');
});
