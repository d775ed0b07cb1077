import type { Caller } from '../slices.ts';
import type { Log, Scope, StoredEvent } from './contract/log.ts';
import type { EventLog } from './contract/store.ts';
import { requireReached } from './current.ts';

/**
 * Returns the position (`seq`) just before the event with this `runSeq` (its number in the run). For a trimmed event: the
 * position before the oldest event of the log.
 *
 * `runSeq` grows along `seq` and is never greater than `seq`, so a binary search finds the event. Each step reads one
 * event. If the log has no other run, the first step finds it. Rejected: a database index. It would find the event in one
 * step, but every publisher would pay for it.
 */
export async function positionOfRunSeq(log: Log, scope: Scope, runSeq: number, caller?: Caller): Promise<number> {
  const { head } = log;
  // The result is from `low` to `high`.
  let low = Math.max(runSeq, log.oldest) - 1;
  let high = head;
  let probe = low;
  while (low < high) {
    const record = await firstAfter(log, { ...caller, scope }, probe, head);
    if (record?.runSeq === runSeq) return probe;
    if (!record || record.runSeq > runSeq) high = probe;
    else low = record.seq + runSeq - record.runSeq - 1;
    probe = Math.floor((low + high) / 2);
  }
  return low;
}

/** Returns the number of the run's last event at or before a position; 0 if there is none. */
export async function runSeqAt(
  log: Log & Pick<EventLog, 'runs'>,
  run: { projectId: string; runId: string },
  seq: number,
  caller?: Caller,
): Promise<number> {
  // Read first: if the run has a later event, it is in the log by now.
  const header = await log.runs.header(run.projectId, run.runId, caller);
  if (!header) return 0;
  if (header.lastSeq <= seq) return header.lastRunSeq;
  const next = await firstAfter(log, { ...caller, scope: { kind: 'run', ...run } }, seq, header.lastSeq);
  return next ? next.runSeq - 1 : header.lastRunSeq;
}

async function firstAfter(
  log: Log,
  of: Caller & { scope: Scope },
  after: number,
  head: number,
): Promise<StoredEvent | undefined> {
  // `head` may be of a header that another node has just written. Pages end at the head of this node.
  await requireReached(log, head);
  for (let from = after; from < head; ) {
    const { records, scannedTo } = await log.read({ ...of, after: from, limit: 1 });
    if (records[0]) return records[0];
    from = scannedTo;
  }
  return undefined;
}
