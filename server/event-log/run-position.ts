import type { Log, Scope, StoredEvent } from './contract/log.ts';

/**
 * Returns the position just before the event of a run with this `runSeq`; for a trimmed event, the position before the oldest
 * one. `runSeq` grows along `seq` and never exceeds it, so a binary search with reads of one record finds it: the first read
 * if the log has no other run. Rejected: an index. It would need one read, but cost every publisher a write.
 */
export async function positionOfRunSeq(log: Log, scope: Scope, runSeq: number): Promise<number> {
  const { head } = log;
  // Events up to `low` are before it; events after `high` are not.
  let low = Math.max(runSeq, log.oldest) - 1;
  let high = head;
  let probe = low;
  while (low < high) {
    const record = await firstAfter(log, scope, probe, head);
    if (record?.runSeq === runSeq) return probe;
    if (!record || record.runSeq > runSeq) high = probe;
    else low = record.seq + runSeq - record.runSeq - 1;
    probe = Math.floor((low + high) / 2);
  }
  return low;
}

async function firstAfter(log: Log, scope: Scope, after: number, head: number): Promise<StoredEvent | undefined> {
  for (let from = after; from < head; ) {
    const { records, scannedTo } = await log.read({ scope, after: from, limit: 1 });
    if (records[0]) return records[0];
    from = scannedTo;
  }
  return undefined;
}
