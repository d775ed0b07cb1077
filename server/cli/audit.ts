import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { z } from 'zod';
import type { RunwireClient } from '../../client/index.ts';
import type { BreakReason, Checkpoint, Verdict } from '../../shared/audit.ts';
import { RunwireError } from '../../shared/errors.ts';
import { MAX_CHECKPOINTS } from '../audit/audit.ts';
import { readEnvironment } from '../config.ts';
import { databasePath, isPostgresUrl } from '../event-log/database-url.ts';
import { isAttested } from '../event-log/integrity/attestation.ts';
import { AuditKeys } from '../event-log/integrity/keys.ts';
import { verifySqliteFile } from '../event-log/sqlite/verify-file.ts';
import { call } from './call.ts';
import { UsageError } from './errors.ts';
import { lineOf, safeJson } from './format.ts';
import { type TargetOptions, targetOf } from './target.ts';

/** The commands `verify`, `checkpoint`, `erase` and `clock`. */

export type VerifyCommandOptions = TargetOptions & { database?: string; checkpoints?: string; key?: string };
export type CheckpointCommandOptions = TargetOptions & { publicKey?: boolean };
export type EraseCommandOptions = TargetOptions & {
  seq?: number;
  eventId?: string;
  project?: string;
  reason: string;
  yes?: boolean;
};
export type ClockCommandOptions = TargetOptions & { now: string };

const reasons: Record<BreakReason, string> = {
  payload: 'the event is not the one that was logged',
  row: 'the row was changed',
  order: 'the row belongs to another position',
  missing: 'the row is missing',
  beginning: 'earlier rows were removed, and not by retention',
  head: 'the end of the log was changed or cut off',
  checkpoint: 'a checkpoint has another hash',
  erasure: 'the event is erased without a valid record, or has a record and is not erased',
  unreadable: 'the file is damaged',
  wal: 'the file was in use when it was copied, and its -wal file is missing: later events may be missing too',
};

/** Verifies the log of a server or of a file. Resolves with the exit code: 0 if the log is intact, otherwise 1. */
export async function verify(options: VerifyCommandOptions): Promise<number> {
  if (options.database !== undefined && options.url !== undefined) {
    throw new UsageError('verify takes either --database or --url');
  }
  const kept = options.checkpoints === undefined ? [] : readCheckpoints(options.checkpoints);
  const keys = options.key === undefined ? undefined : readKeys(options.key);
  const { database } = options;
  const verdict =
    database === undefined
      ? await call(await targetOf(options), (client) => verifyServer(client, kept, keys))
      : await verifyDatabase(database, kept, keys);
  if (verdict.ok) {
    const { from, to, hash, events, erased } = verdict;
    const checked = kept.length === 0 ? '' : `, ${kept.length} checkpoint${kept.length === 1 ? ' matches' : 's match'}`;
    process.stdout.write(`ok: ${events} events, seq ${from} to ${to}, ${erased} erased, head ${hash}${checked}\n`);
    return 0;
  }
  const { seq, to, reason } = verdict;
  const range = to === undefined ? seq : `${seq} to ${to}`;
  process.stdout.write(
    `${reason === 'wal' ? 'unproven from' : 'broken at'} seq ${range}: ${reason}: ${reasons[reason]}\n`,
  );
  return 1;
}

async function verifyServer(client: RunwireClient, kept: Kept[], keys: AuditKeys | undefined): Promise<Verdict> {
  if (kept.length > 0) {
    const { checkpoint, publicKey } = await client.audit.checkpoint.query();
    requireSigned(kept, checkpoint.epoch, keys ?? new AuditKeys(publicKey));
  }
  let verdict: Verdict;
  let from = 0;
  do {
    const checkpoints = kept
      .slice(from, from + MAX_CHECKPOINTS)
      .map(({ checkpoint: { seq, hash } }) => ({ seq, hash }));
    verdict = await client.audit.verify.query({ checkpoints });
    from += MAX_CHECKPOINTS;
  } while (verdict.ok && from < kept.length);
  return verdict;
}

async function verifyDatabase(database: string, kept: Kept[], given: AuditKeys | undefined): Promise<Verdict> {
  const checkpoints = kept.map(({ checkpoint }) => checkpoint);
  const check = ({ epoch, keys }: { epoch: string; keys: AuditKeys | undefined }) => {
    if (kept.length === 0) return;
    if (!keys) throw new UsageError('--key is required: the key is neither in the database nor beside it');
    requireSigned(kept, epoch, keys);
  };
  try {
    if (!isPostgresUrl(database)) {
      if (!database.startsWith('file:')) throw new UsageError('--database: must begin with file: or postgres://');
      return verifySqliteFile(databasePath(database), { keys: given, checkpoints, check });
    }
    const { verifyPostgresDatabase } = await import('../event-log/postgres/verify-database.ts');
    const { AUDIT_KEY } = readEnvironment();
    const keys = given ?? (AUDIT_KEY === undefined ? undefined : AuditKeys.inText(AUDIT_KEY));
    return await verifyPostgresDatabase(database, { keys, checkpoints, check });
  } catch (error) {
    if (error instanceof RunwireError && error.code === 'INVALID_INPUT') throw new UsageError(error.message);
    throw error;
  }
}

/** A checkpoint, and the number of its line in the file. */
type Kept = { line: number; checkpoint: Checkpoint };

const checkpointSchema = z.object({
  epoch: z.string(),
  seq: z.int().nonnegative(),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  oldest: z.int(),
  at: z.string(),
  keyId: z.string(),
  signature: z.string(),
});

function readCheckpoints(path: string): Kept[] {
  const lines = read(path, '--checkpoints').split('\n');
  return lines.flatMap((text, index) => {
    if (text.trim() === '') return [];
    const line = index + 1;
    try {
      return [{ line, checkpoint: checkpointSchema.parse(JSON.parse(text)) }];
    } catch {
      throw new UsageError(`--checkpoints: line ${line} is not a checkpoint`);
    }
  });
}

function readKeys(path: string): AuditKeys {
  try {
    return new AuditKeys(read(path, '--key'));
  } catch (error) {
    throw error instanceof RunwireError ? new UsageError(`--key: ${error.message}`) : error;
  }
}

function read(path: string, option: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`${option}: cannot read the file (${(error as NodeJS.ErrnoException).code ?? 'failed'})`);
  }
}

/** Throws if a checkpoint is not signed by the key, or belongs to another log. */
function requireSigned(kept: readonly Kept[], epoch: string, keys: AuditKeys): void {
  for (const { line, checkpoint } of kept) {
    const where = `the checkpoint of line ${line} (seq ${checkpoint.seq})`;
    if (!isAttested(keys, 'checkpoint', checkpoint)) throw new Error(`${where} is not signed by the key`);
    if (checkpoint.epoch !== epoch) throw new Error(`${where} is of another log`);
  }
}

/** Prints a signed checkpoint, or the public key. */
export async function checkpoint(options: CheckpointCommandOptions): Promise<number> {
  const answer = await call(await targetOf(options), (client) => client.audit.checkpoint.query());
  process.stdout.write(options.publicKey ? answer.publicKey : `${JSON.stringify(answer.checkpoint)}\n`);
  return 0;
}

/**
 * Shows an event, asks for a confirmation, and erases the event. Prints the record of the erasure. Without a terminal,
 * `--yes` is required.
 */
export async function erase({ reason, yes, ...options }: EraseCommandOptions): Promise<number> {
  const which = eventOf(options);
  const target = await targetOf(options);
  const event = await call(target, (client) => client.event.get.query(which));
  process.stderr.write(`${lineOf(event, true)}\n`);
  if (!yes) {
    if (!process.stdin.isTTY) throw new UsageError('erase needs --yes when its input is not a terminal');
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    const answer = await terminal.question('Erase the text of this event permanently? [y/N] ');
    terminal.close();
    if (!/^y(es)?$/i.test(answer.trim())) {
      process.stderr.write('runwire: nothing was erased\n');
      return 1;
    }
  }
  const erasure = await call(target, (client) => client.audit.erase.mutate({ seq: event.seq, reason }));
  process.stdout.write(`${safeJson(erasure)}\n`);
  return 0;
}

function eventOf({ seq, eventId, project: projectId }: Pick<EraseCommandOptions, 'seq' | 'eventId' | 'project'>) {
  if (seq !== undefined && eventId === undefined) return { seq };
  if (seq === undefined && eventId !== undefined && projectId !== undefined) return { projectId, eventId };
  throw new UsageError('erase needs either --seq, or --event-id and --project');
}

/** Confirms that the server's clock is right, and prints the repair of the log's clock, if one was needed. */
export async function confirmClock({ now, ...options }: ClockCommandOptions): Promise<number> {
  const { clock, repair } = await call(await targetOf(options), (client) => client.audit.confirmClock.mutate({ now }));
  process.stdout.write(`confirmed: the server's clock is at ${clock}\n`);
  if (repair) process.stdout.write(`repaired: ${safeJson(repair)}\n`);
  return 0;
}
