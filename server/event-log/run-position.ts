import type { Log, Scope, StoredEvent } from './contract/log.ts';

/**
 * The position just before an event of a run that is named by its place in the run; where it is not kept any more, before
 * the oldest that is. `runSeq` grows along `seq` and never exceeds it, so a few reads of one record each find it: the
 * first where the run has the log to itself, halving what is left where it shares it. An index would do it in one, and
 * cost every publisher a write.
 */
export async function positionOfRunSeq(log: Log, scope: Scope, runSeq: number): Promise<number> {
  const { head } = log;
  // Up to `low`, all are before it; after `high`, none is.
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
