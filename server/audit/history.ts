import { existsSync } from 'node:fs';
import { appendFile, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Checkpoint } from '../../shared/audit.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';

/** Name of the file with the signed checkpoints, beside the database. */
export const CHECKPOINTS_FILE = 'checkpoints.ndjson';
/** The last part of the file that is read at a start: some thousand checkpoints. */
const TAIL_BYTES = 1 << 20;

type Parts = {
  log: Log & Pick<EventLog, 'integrity' | 'access'>;
  folder: string;
  /** Whether the log's last row is not the row that it has logged last. */
  isDamaged: boolean;
  logger: Logger;
};

/**
 * Compares the log with the newest checkpoint of its epoch in `checkpoints.ndjson`, before the server serves it. If the log
 * has lost events, or has others instead, it gets a new epoch: clients then get a gap, and never miss events in silence.
 * Returns whether the file has a checkpoint of the present epoch.
 */
export async function proveHistory({ log, folder, isDamaged, logger }: Parts): Promise<boolean> {
  const path = join(folder, CHECKPOINTS_FILE);
  const kept = await readTail(path);
  let isHeld = false;
  let lost: { reason: string; seq: number } | undefined = isDamaged ? { reason: 'damaged', seq: log.head } : undefined;
  for (const checkpoint of kept.filter(({ epoch }) => epoch === log.epoch)) {
    const outcome = await log.integrity.compare(checkpoint);
    if (outcome === 'foreign') continue; // The key did not sign it.
    isHeld = outcome === 'held';
    if (!isHeld) lost = { reason: 'checkpoint', seq: checkpoint.seq };
    break;
  }
  if (lost) {
    const before = log.epoch;
    const epoch = await log.integrity.renewEpoch(lost.reason);
    logger.error(
      { path, epoch, before, head: log.head, seq: lost.seq },
      'the event log is not the one that its checkpoints or its last commit describe: a backup was put back, or its end was lost. It has a new epoch, and clients get a gap',
    );
    await record(log, lost.reason);
    return false;
  }
  if (!isHeld && kept[0]) {
    logger.error(
      { path, epoch: log.epoch, head: log.head, seq: kept[0].seq },
      'no checkpoint beside the database is of this event log: the database was deleted, emptied or replaced, or another log has used this folder',
    );
    await record(log, 'replaced');
  }
  return isHeld;
}

/** Adds an entry about the log to the access record. */
const record = (log: Parts['log'], detail: string): Promise<void> =>
  log.access.write([
    { at: new Date().toISOString(), sub: null, action: 'log.epoch', outcome: 'ok', via: 'caller', detail, count: 1 },
  ]);

/** Returns the checkpoints at the end of the file, newest first. Ends a line that a killed process left incomplete. */
async function readTail(path: string): Promise<Checkpoint[]> {
  if (!existsSync(path)) return [];
  const file = await open(path);
  let text: string;
  try {
    const { size } = await file.stat();
    const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES));
    await file.read(bytes, 0, bytes.length, size - bytes.length);
    text = bytes.toString('utf8');
  } finally {
    await file.close();
  }
  if (text !== '' && !text.endsWith('\n')) await appendFile(path, '\n');
  return text.split('\n').flatMap(parsed).reverse();
}

function parsed(line: string): Checkpoint[] {
  try {
    const { seq, epoch, hash } = JSON.parse(line) as Checkpoint;
    const isCheckpoint = Number.isSafeInteger(seq) && typeof epoch === 'string' && typeof hash === 'string';
    return isCheckpoint ? [JSON.parse(line) as Checkpoint] : [];
  } catch {
    return [];
  }
}
