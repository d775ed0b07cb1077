import { createHash } from 'node:crypto';
import { RunwireError } from '../../../shared/errors.ts';
import type { BreakReason, Checkpoint, Erasure, Verdict } from '../contract/integrity.ts';
import { isAttested, type Trimming } from './attestation.ts';
import { type ChainedRow, GENESIS, payloadHash, rowHash } from './canonical.ts';
import type { AuditKeys } from './keys.ts';

/**
 * Checks that a log is what was logged, row by row, in memory that does not grow with it.
 *
 * A row vouches for the one before it, the head that is kept with each commit for the last one. So where two do not fit,
 * who of them was altered is told by the row after them: if it vouches for the second as it stands, it was the first.
 */

/** A position and the hash of the row there. */
export type Link = { seq: number; hash: Uint8Array };

/** A row with what is signed about it, columns as they are found: nothing is known of their types. */
export type StoredRow = ChainedRow & { payload: string; salt: Uint8Array; erasure?: string; checkpoint?: string };

/** What can be asked of a store; all that is asked by one call of `atOnce` is of one moment. */
export interface ChainSource {
  readonly epoch: string;
  atOnce<T>(work: () => T): T;
  /** Where the log says that it ends, and what it has trimmed last; undefined where it does not say. */
  head(): Link | undefined;
  trimming(): Trimming | undefined;
  /** Least and greatest of all positions; undefined where there are none. */
  extent(): { first: number; last: number } | undefined;
  /** Rows after a position, up to another, in order. */
  rows(after: number, upTo: number, count: number): StoredRow[];
  prevHash(seq: number): Uint8Array | undefined;
  /** The first row between two positions with this `prevHash`. */
  firstWithPrevHash(hash: Uint8Array, from: number, upTo: number): number | undefined;
  /** Whether there is an erasure or a checkpoint of what comes after a position. */
  hasSignedAfter(seq: number): boolean;
}

export type ChainOptions = {
  /** Where the log ends as its server knows it; default where it says so itself. */
  head?: Link | undefined;
  /** Without it, a log that has been trimmed or erased from cannot be verified. */
  keys: AuditKeys | undefined;
  checkpoints?: readonly Pick<Checkpoint, 'seq' | 'hash'>[] | undefined;
};

/** 1 MiB of the largest payloads. */
const ROWS_AT_ONCE = 16;
const ROWS_SEARCHED = 1_000;

const hex = (hash: Uint8Array): string => Buffer.from(hash).toString('hex');
const isEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const broken = (seq: number, reason: BreakReason): Verdict => ({ ok: false, seq, reason });

/** Yields where others may have their turn. */
export function* verifyChain(source: ChainSource, options: ChainOptions): Generator<undefined, Verdict> {
  const { keys } = options;
  const checkpoints = [...(options.checkpoints ?? [])].sort((a, b) => a.seq - b.seq);
  const begun = source.atOnce(() => ({ head: options.head ?? source.head(), extent: source.extent() }));
  const { head } = begun;
  if (!head) return broken(begun.extent?.last ?? 1, 'head');
  let at: Link = { seq: 0, hash: GENESIS };
  /** Whether `at` is where retention has come to, and not a row. */
  let isTrimmed = true;
  let from = 0;
  let events = 0;
  let erased = 0;

  const beginning = (): BreakReason | undefined => {
    const trimming = source.trimming();
    if (trimming && !Number.isSafeInteger(trimming.seq)) return 'beginning';
    // Events may be trimmed while others are being looked at.
    if (trimming && trimming.seq > at.seq) {
      if (!isAttested(known(keys), 'trimming', trimming) || trimming.epoch !== source.epoch) return 'beginning';
      at = { seq: trimming.seq, hash: Buffer.from(trimming.hash, 'hex') };
      isTrimmed = true;
    }
    return undefined;
  };
  const contradicted = (): boolean => {
    while (checkpoints[0] && checkpoints[0].seq < at.seq) checkpoints.shift();
    while (checkpoints[0]?.seq === at.seq) if (checkpoints.shift()?.hash !== hex(at.hash)) return true;
    return false;
  };

  for (;;) {
    const verdict = source.atOnce((): Verdict | 'more' | { row: StoredRow } | undefined => {
      const reason = beginning();
      if (reason) return broken(source.extent()?.first ?? at.seq + 1, reason);
      if (isTrimmed) {
        from = at.seq + 1;
        const { first = from } = source.extent() ?? {};
        if (first < from) return broken(first, 'beginning');
        if (contradicted()) return broken(from, 'checkpoint');
      }
      const rows = source.rows(at.seq, head.seq, ROWS_AT_ONCE);
      for (const row of rows) {
        if (row.seq !== at.seq + 1) return broken(at.seq + 1, isTrimmed ? 'beginning' : 'missing');
        if (!isHash(row.prevHash) || !isEqual(row.prevHash, at.hash)) return { row };
        const fault = faultOf(row, source.epoch, keys);
        if (fault) return broken(row.seq, fault);
        at = { seq: row.seq, hash: rowHash(row) };
        isTrimmed = false;
        events++;
        if (row.erasure !== undefined) erased++;
        if (contradicted() || (row.checkpoint !== undefined && hashIn(row.checkpoint) !== hex(at.hash))) {
          return broken(row.seq, 'checkpoint');
        }
      }
      if (rows.length === ROWS_AT_ONCE) return 'more';
      if (at.seq < head.seq) return broken(at.seq + 1, isTrimmed ? 'beginning' : 'missing');
      return endOf(source, head, at);
    });
    if (verdict === 'more') yield;
    else if (verdict && 'row' in verdict) return yield* blame(source, verdict.row, at, isTrimmed, head, keys);
    else if (verdict) return verdict;
    else break;
  }
  // Of a log that is shorter than it was, or another.
  if (checkpoints[0]) return broken(head.seq + 1, 'checkpoint');
  return { ok: true, from, to: at.seq, hash: hex(at.hash), events, erased };
}

/** Whether the log ends where it says so. It may have gone on since the check began. */
function endOf(source: ChainSource, head: Link, at: Link): Verdict | undefined {
  const now = source.head();
  const last = source.extent()?.last ?? 0;
  // Retention may have overtaken the check, and vouches for what it has removed.
  const isEnd = at.seq > head.seq || isEqual(at.hash, head.hash);
  if (!isEnd || !now || now.seq < Math.max(head.seq, at.seq)) return broken(Math.max(1, head.seq), 'head');
  if (now.seq === head.seq && !isEqual(now.hash, head.hash)) return broken(Math.max(1, head.seq), 'head');
  if (last > now.seq) return broken(now.seq + 1, 'head');
  return source.hasSignedAfter(now.seq) ? broken(now.seq + 1, 'checkpoint') : undefined;
}

/** Who is to blame when a row does not fit the one before it. */
function* blame(
  source: ChainSource,
  row: StoredRow,
  before: Link,
  isBeforeTrimmed: boolean,
  head: Link,
  keys: AuditKeys | undefined,
): Generator<undefined, Verdict> {
  const { seq } = row;
  const next = seq === head.seq ? head.hash : source.prevHash(seq + 1);
  const isVouchedFor = (other: StoredRow) => isHash(other.prevHash) && next && isEqual(rowHash(other), next);
  if (isVouchedFor(row)) {
    if (isBeforeTrimmed) return broken(seq, 'beginning');
    // Rows that were put in are built on the row that this one should follow.
    const putIn = yield* findBuiltOn(source, row.prevHash, before.seq);
    return broken(putIn ?? before.seq, 'row');
  }
  if (isVouchedFor({ ...row, prevHash: before.hash })) return broken(seq, 'row');
  const fault = faultOf(row, source.epoch, keys);
  if (fault) return broken(seq, fault);
  // What was built on the row before vouches for it, wherever it is now.
  if ((yield* findBuiltOn(source, before.hash, head.seq)) !== undefined) return broken(seq, 'order');
  return isBeforeTrimmed ? broken(seq, 'beginning') : broken(before.seq, 'row');
}

function* findBuiltOn(source: ChainSource, hash: Uint8Array, upTo: number): Generator<undefined, number | undefined> {
  const first = source.extent()?.first ?? 1;
  for (let from = first; from <= upTo; from += ROWS_SEARCHED) {
    const found = source.firstWithPrevHash(hash, from, Math.min(upTo, from + ROWS_SEARCHED - 1));
    if (found !== undefined) return found;
    yield;
  }
  return undefined;
}

/** What is wrong with a row by itself: its hashes, its record of erasure, and its columns beside what its event says. */
function faultOf(row: StoredRow, epoch: string, keys: AuditKeys | undefined): BreakReason | undefined {
  const { payload } = row;
  if (typeof payload !== 'string') return 'payload';
  if (!isHash(row.payloadHash)) return 'row';
  const event = parsed(payload) as Partial<ChainedRow> & { erased?: unknown; recordedAt?: string };
  if (row.erasure !== undefined) {
    const erasure = recordOf(row, row.erasure, epoch, keys);
    if (!erasure || event?.erased !== true) return 'erasure';
    if (erasure.altered) return 'payload'; // To erase it mends nothing.
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

/** Whether a payload is the one that its row was logged with. */
export const isAsLogged = ({ payload, salt, payloadHash: kept }: Pick<StoredRow, 'payload' | 'salt' | 'payloadHash'>) =>
  salt instanceof Uint8Array && isHash(kept) && isEqual(payloadHash(salt, payload), kept);

/** The record of a row's erasure, where it is one. */
function recordOf(row: StoredRow, text: string, epoch: string, keys: AuditKeys | undefined): Erasure | undefined {
  const erasure = parsed(text) as Erasure | undefined;
  const isValid =
    erasure !== undefined &&
    row.salt instanceof Uint8Array &&
    row.salt.length === 0 &&
    erasure.epoch === epoch &&
    erasure.seq === row.seq &&
    erasure.payloadHash === hex(row.payloadHash) &&
    erasure.tombstoneHash === tombstoneHash(row.payload) &&
    isAttested(known(keys), 'erasure', erasure);
  return isValid ? erasure : undefined;
}

/** SHA-256 as hexadecimal: there is nothing in it to be guessed. */
export const tombstoneHash = (tombstone: string): string => createHash('sha256').update(tombstone).digest('hex');

const isHash = (value: unknown): value is Uint8Array => value instanceof Uint8Array && value.length === 32;
const hashIn = (checkpoint: string): string | undefined => (parsed(checkpoint) as Checkpoint | undefined)?.hash;

/** Undefined for what is no object of JSON. */
function parsed(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function known(keys: AuditKeys | undefined): AuditKeys {
  if (keys) return keys;
  throw new RunwireError('INVALID_INPUT', 'the log has signed records: the public key is needed', { path: 'key' });
}
