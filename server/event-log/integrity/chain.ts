import { createHash } from 'node:crypto';
import type { BreakReason, Checkpoint, Erasure, Verdict } from '../../../shared/audit.ts';
import { RunwireError } from '../../../shared/errors.ts';
import { isAttested, type Trimming } from './attestation.ts';
import { type ChainedRow, GENESIS, payloadHash, rowHash } from './canonical.ts';
import { isRepair } from './clock.ts';
import type { AuditKeys } from './keys.ts';

/**
 * Verifies the hash chain of the log row by row, in constant memory. Any store can use it.
 *
 * Each row stores the hash of the row before it (`prevHash`). The store also keeps the hash of the last row (the head). If
 * the `prevHash` of row n+1 is not the hash of row n, row n or row n+1 was altered. The `prevHash` of row n+2 decides: if
 * it is the hash of row n+1, row n was altered, otherwise row n+1.
 */

/** A position in the log, and the hash of the row at this position. */
export type Link = { seq: number; hash: Uint8Array };

/**
 * A row as found in the store, with its signed records. Another program may have written it: a column may have any type.
 */
export type StoredRow = ChainedRow & {
  payload: string;
  salt: Uint8Array;
  erasure?: string;
  checkpoint?: string;
  /** Repair of the clock after this row. */
  repair?: string;
};

/** The reads that verification needs. All reads inside one `atOnce` MUST see the state of one moment. */
export interface ChainSource {
  readonly epoch: string;
  atOnce<T>(work: () => T): T;
  /** Position and hash of the last row, as the last commit stored them; undefined if the store has none. */
  head(): Link | undefined;
  /** The signed record of the last trim; undefined if there is none. */
  trimming(): Trimming | undefined;
  /** Positions of the first and the last row; undefined without rows. */
  extent(): { first: number; last: number } | undefined;
  /** At most `count` rows with `after < seq <= upTo`, in order. */
  rows(after: number, upTo: number, count: number): StoredRow[];
  prevHash(seq: number): Uint8Array | undefined;
  /** Position of the first row from `from` to `upTo` that has this `prevHash`. */
  firstWithPrevHash(hash: Uint8Array, from: number, upTo: number): number | undefined;
  /** Whether an error of a read means that the stored rows are damaged. */
  isDamage?(error: unknown): boolean;
  /** Whether an erasure or a checkpoint is stored for a position greater than `seq`. */
  hasSignedAfter(seq: number): boolean;
}

export type ChainOptions = {
  /** The head of the log in the server's memory. Default: the stored head. */
  head?: Link | undefined;
  /** Needed for a log with trimmed or erased events: their records are signed. */
  keys: AuditKeys | undefined;
  checkpoints?: readonly Pick<Checkpoint, 'seq' | 'hash'>[] | undefined;
};

/** At most 1 MiB of payload, since an event has at most 64 KiB. */
const ROWS_AT_ONCE = 16;
const ROWS_SEARCHED = 1_000;

const hex = (hash: Uint8Array): string => Buffer.from(hash).toString('hex');
const isEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const broken = (seq: number, reason: BreakReason): Verdict => ({ ok: false, seq, reason });

/** Yields after each piece of work, so that the caller can let other work run. */
export function* verifyChain(source: ChainSource, options: ChainOptions): Generator<undefined, Verdict> {
  const { keys } = options;
  const checkpoints = [...(options.checkpoints ?? [])].sort((a, b) => a.seq - b.seq);
  const begun = source.atOnce(() => ({ head: options.head ?? source.head(), extent: source.extent() }));
  const { head } = begun;
  if (!head) return broken(begun.extent?.last ?? 1, 'head');
  let at: Link & { recordedAtMs?: number; repair?: string | undefined } = { seq: 0, hash: GENESIS };
  /** Whether `at` is not a stored row: it is the start of the chain, or the last trimmed row. */
  let isTrimmed = true;
  let from = 0;
  let events = 0;
  let erased = 0;

  const readTrimming = (): BreakReason | undefined => {
    const trimming = source.trimming();
    if (trimming && !Number.isSafeInteger(trimming.seq)) return 'beginning';
    // A trim may run between two pieces of work. Verification then continues after the last trimmed row.
    if (trimming && trimming.seq > at.seq) {
      if (!isAttested(required(keys), 'trimming', trimming) || trimming.epoch !== source.epoch) return 'beginning';
      at = { seq: trimming.seq, hash: Buffer.from(trimming.hash, 'hex') };
      isTrimmed = true;
    }
    return undefined;
  };
  const hasOtherCheckpoint = (): boolean => {
    while (checkpoints[0] && checkpoints[0].seq < at.seq) checkpoints.shift();
    while (checkpoints[0]?.seq === at.seq) if (checkpoints.shift()?.hash !== hex(at.hash)) return true;
    return false;
  };

  for (;;) {
    const verdict = source.atOnce((): Verdict | 'more' | 'unreadable' | { row: StoredRow } | undefined => {
      const reason = readTrimming();
      if (reason) return broken(source.extent()?.first ?? at.seq + 1, reason);
      if (isTrimmed) {
        from = at.seq + 1;
        const { first = from } = source.extent() ?? {};
        if (first < from) return broken(first, 'beginning');
        if (hasOtherCheckpoint()) return broken(from, 'checkpoint');
      }
      const rows = readableRows(source, at.seq, head.seq);
      if (rows.length === 0 && at.seq < head.seq && !isReadable(source, at.seq + 1)) return 'unreadable';
      for (const row of rows) {
        if (row.seq !== at.seq + 1) return broken(at.seq + 1, isTrimmed ? 'beginning' : 'missing');
        if (!isHash(row.prevHash) || !isEqual(row.prevHash, at.hash)) return { row };
        const fault = faultOf(row, source.epoch, keys);
        if (fault) return broken(row.seq, fault);
        const isEarlier = row.recordedAtMs < (at.recordedAtMs ?? 0);
        if (isEarlier && !isRepair(at.repair, at.seq, source.epoch, required(keys))) return broken(row.seq, 'row');
        at = { seq: row.seq, hash: rowHash(row), recordedAtMs: row.recordedAtMs, repair: row.repair };
        isTrimmed = false;
        events++;
        if (row.erasure !== undefined) erased++;
        if (hasOtherCheckpoint() || (row.checkpoint !== undefined && hashIn(row.checkpoint) !== hex(at.hash))) {
          return broken(row.seq, 'checkpoint');
        }
      }
      if (rows.length === ROWS_AT_ONCE || (rows.length > 0 && at.seq < head.seq)) return 'more';
      if (at.seq < head.seq) return broken(at.seq + 1, isTrimmed ? 'beginning' : 'missing');
      return endOf(source, head, at);
    });
    if (verdict === 'more') yield;
    else if (verdict === 'unreadable') return yield* unreadableFrom(source, at.seq + 1, head.seq);
    else if (verdict && 'row' in verdict) return yield* findAltered(source, verdict.row, at, isTrimmed, head, keys);
    else if (verdict) return verdict;
    else break;
  }
  // A checkpoint is left that is after the last row: rows were cut off, or the checkpoint belongs to another log.
  if (checkpoints[0]) return broken(head.seq + 1, 'checkpoint');
  return { ok: true, from, to: at.seq, hash: hex(at.hash), events, erased };
}

/** Reads the next rows. Where the file is damaged, those before the damage; none if the next row is damaged. */
function readableRows(source: ChainSource, after: number, upTo: number): StoredRow[] {
  try {
    return source.rows(after, upTo, ROWS_AT_ONCE);
  } catch {
    const rows: StoredRow[] = [];
    for (let seq = after + 1; seq <= Math.min(upTo, after + ROWS_AT_ONCE) && isReadable(source, seq); seq++) {
      rows.push(...source.rows(seq - 1, seq, 1));
    }
    return rows;
  }
}

/** Whether a row can be read. Throws an error that is not about damage: `SQLITE_CORRUPT` and `SQLITE_NOTADB`. */
function isReadable(source: ChainSource, seq: number): boolean {
  try {
    source.rows(seq - 1, seq, 1);
    return true;
  } catch (error) {
    if (source.isDamage?.(error)) return false;
    throw error;
  }
}

/** Finds the end of a damaged range. */
function* unreadableFrom(source: ChainSource, from: number, upTo: number): Generator<undefined, Verdict> {
  let to = from;
  while (to < upTo && !isReadable(source, to + 1)) {
    to++;
    if (to % ROWS_SEARCHED === 0) yield;
  }
  return { ok: false, seq: from, reason: 'unreadable', to };
}

/**
 * Runs {@link verifyChain} in slices (short pieces of work between which the event loop is free). On abort, rejects with
 * the signal's reason.
 */
export async function verifyInSlices(
  steps: Generator<undefined, Verdict>,
  slice: <T>(work: (until: number) => T) => Promise<T>,
  signal: AbortSignal | undefined,
): Promise<Verdict> {
  for (;;) {
    signal?.throwIfAborted();
    const verdict = await slice((until) => {
      do {
        const step = steps.next();
        if (step.done) return step.value;
      } while (performance.now() < until);
      return undefined;
    });
    if (verdict) return verdict;
  }
}

/**
 * Compares `at`, the last verified row, with the stored head. New events may have been logged since the verification began.
 */
function endOf(source: ChainSource, head: Link, at: Link): Verdict | undefined {
  const now = source.head();
  const last = source.extent()?.last ?? 0;
  // `at` is after `head` if a trim has deleted rows that were not yet verified. The signed record of the trim covers these
  // rows.
  const isEnd = at.seq > head.seq || isEqual(at.hash, head.hash);
  if (!isEnd || !now || now.seq < Math.max(head.seq, at.seq)) return broken(Math.max(1, head.seq), 'head');
  if (now.seq === head.seq && !isEqual(now.hash, head.hash)) return broken(Math.max(1, head.seq), 'head');
  if (last > now.seq) return broken(now.seq + 1, 'head');
  return source.hasSignedAfter(now.seq) ? broken(now.seq + 1, 'checkpoint') : undefined;
}

/** Called if the `prevHash` of `row` is not the hash of the row before it. Finds out which of the two was altered. */
function* findAltered(
  source: ChainSource,
  row: StoredRow,
  before: Link,
  isBeforeTrimmed: boolean,
  head: Link,
  keys: AuditKeys | undefined,
): Generator<undefined, Verdict> {
  const { seq } = row;
  const next = seq === head.seq ? head.hash : source.prevHash(seq + 1);
  const matchesNext = (other: StoredRow) => isHash(other.prevHash) && next && isEqual(rowHash(other), next);
  if (matchesNext(row)) {
    if (isBeforeTrimmed) return broken(seq, 'beginning');
    // Rows may have been inserted before `row`. The first of them has the same `prevHash` as `row`.
    const inserted = yield* findPrevHash(source, row.prevHash, before.seq);
    return broken(inserted ?? before.seq, 'row');
  }
  if (matchesNext({ ...row, prevHash: before.hash })) return broken(seq, 'row');
  const fault = faultOf(row, source.epoch, keys);
  if (fault) return broken(seq, fault);
  // If another row has the predecessor's hash as its `prevHash`, the predecessor is intact, and that other row was moved
  // away.
  if ((yield* findPrevHash(source, before.hash, head.seq)) !== undefined) return broken(seq, 'order');
  return isBeforeTrimmed ? broken(seq, 'beginning') : broken(before.seq, 'row');
}

function* findPrevHash(source: ChainSource, hash: Uint8Array, upTo: number): Generator<undefined, number | undefined> {
  const first = source.extent()?.first ?? 1;
  for (let from = first; from <= upTo; from += ROWS_SEARCHED) {
    const found = source.firstWithPrevHash(hash, from, Math.min(upTo, from + ROWS_SEARCHED - 1));
    if (found !== undefined) return found;
    yield;
  }
  return undefined;
}

/** Checks one row without its neighbours: its payload hash, its erasure record, and its columns against its event. */
function faultOf(row: StoredRow, epoch: string, keys: AuditKeys | undefined): BreakReason | undefined {
  const { payload } = row;
  if (typeof payload !== 'string') return 'payload';
  if (!isHash(row.payloadHash)) return 'row';
  const event = parsed(payload) as Partial<ChainedRow> & { erased?: unknown; recordedAt?: string };
  if (row.erasure !== undefined) {
    const erasure = erasureOf(row, row.erasure, epoch, keys);
    if (!erasure || event?.erased !== true) return 'erasure';
    if (erasure.altered) return 'payload'; // The event had been altered before it was erased.
  } else if (!isAsLogged(row)) {
    return event?.erased === true ? 'erasure' : 'payload';
  }
  if (event?.seq !== row.seq) return 'order';
  const isDescribed =
    event.projectId === row.projectId &&
    event.runId === row.runId &&
    event.runSeq === row.runSeq &&
    event.type === row.type &&
    event.eventId === row.eventId &&
    event.actor === row.actor &&
    Date.parse(event.recordedAt ?? '') === row.recordedAtMs;
  return isDescribed ? undefined : 'row';
}

/** Whether the payload of a row is the text that was logged. */
export const isAsLogged = ({
  payload,
  salt,
  payloadHash: stored,
}: Pick<StoredRow, 'payload' | 'salt' | 'payloadHash'>) =>
  salt instanceof Uint8Array && isHash(stored) && isEqual(payloadHash(salt, payload), stored);

/** Returns the erasure record of a row; undefined if the record is invalid. */
function erasureOf(row: StoredRow, text: string, epoch: string, keys: AuditKeys | undefined): Erasure | undefined {
  const erasure = parsed(text) as Erasure | undefined;
  const isValid =
    erasure !== undefined &&
    row.salt instanceof Uint8Array &&
    row.salt.length === 0 &&
    erasure.epoch === epoch &&
    erasure.seq === row.seq &&
    erasure.payloadHash === hex(row.payloadHash) &&
    erasure.tombstoneHash === tombstoneHash(row.payload) &&
    isAttested(required(keys), 'erasure', erasure);
  return isValid ? erasure : undefined;
}

/** SHA-256 in hexadecimal. No salt is needed: a tombstone contains no text that the hash could reveal. */
export const tombstoneHash = (tombstone: string): string => createHash('sha256').update(tombstone).digest('hex');

const isHash = (value: unknown): value is Uint8Array => value instanceof Uint8Array && value.length === 32;
const hashIn = (checkpoint: string): string | undefined => (parsed(checkpoint) as Checkpoint | undefined)?.hash;

/** Parses a JSON object. Returns undefined for any other text. */
function parsed(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function required(keys: AuditKeys | undefined): AuditKeys {
  if (keys) return keys;
  throw new RunwireError('INVALID_INPUT', 'signed records cannot be verified without the public key', { path: 'key' });
}
