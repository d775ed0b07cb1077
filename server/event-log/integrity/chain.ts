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

/** A row as the store has it, with its signed records. Another program may have written a column of any type. */
export type StoredRow = ChainedRow & {
  payload: string;
  salt: Uint8Array;
  erasure?: string;
  checkpoint?: string;
  /** Repair of the clock after this row. */
  repair?: string;
};

type Or<Promises extends boolean, T> = Promises extends true ? Promise<T> : T;

/** The reads that verification needs. `Promises`: whether they are asynchronous. */
export interface ChainReads<Promises extends boolean = boolean> {
  /** The epoch of signed records. */
  readonly epoch: string;
  /** Rows that one read returns: at most 1 MiB of payload, since an event has at most 64 KiB. */
  readonly rowsAtOnce: number;
  /** Position and hash of the last row, as the last commit stored them; undefined if the store has none. */
  head(): Or<Promises, Link | undefined>;
  /** The signed record of the last trim; undefined if there is none. */
  trimming(): Or<Promises, Trimming | undefined>;
  /** Positions of the first and the last row; undefined without rows. */
  extent(): Or<Promises, { first: number; last: number } | undefined>;
  /** At most `count` rows with `after < seq <= upTo`, in order; fewer if they are large, but at least one if there is one. */
  rows(after: number, upTo: number, count: number): Or<Promises, StoredRow[]>;
  prevHash(seq: number): Or<Promises, Uint8Array | undefined>;
  /** Position of the first row from `from` to `upTo` that has this `prevHash`. */
  firstWithPrevHash(hash: Uint8Array, from: number, upTo: number): Or<Promises, number | undefined>;
  /** Whether an erasure or a checkpoint is stored for a position greater than `seq`. */
  hasSignedAfter(seq: number): Or<Promises, boolean>;
  /** Whether an error of a read means that the stored rows are damaged. */
  isDamage(error: unknown): boolean;
}

/** All reads inside one `atOnce` MUST see the state of one moment. */
export interface ChainSource extends ChainReads<false> {
  atOnce<T>(work: () => T): T;
}

/**
 * A verification. It yields each read that it needs, and gets the result. Reads between two `undefined` MUST see the state of
 * one moment; after an `undefined`, other work may run.
 */
export type Verifying<T = Verdict> = Generator<((reads: ChainReads) => unknown) | undefined, T, unknown>;

/** Asks for one read. */
function* ask<T>(read: (reads: ChainReads) => T): Verifying<Awaited<T>> {
  return (yield read) as Awaited<T>;
}

export type ChainOptions = {
  /** The head of the log in the server's memory. Default: the stored head. */
  head?: Link | undefined;
  /** Needed for a log with trimmed or erased events: their records are signed. */
  keys: AuditKeys | undefined;
  checkpoints?: readonly Pick<Checkpoint, 'seq' | 'hash'>[] | undefined;
};

const ROWS_SEARCHED = 1_000;

const hex = (hash: Uint8Array): string => Buffer.from(hash).toString('hex');
const isEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const broken = (seq: number, reason: BreakReason): Verdict => ({ ok: false, seq, reason });

/** Where a verification is: the last verified row, or the last trimmed one. */
type Progress = {
  at: Link & { recordedAtMs?: number; repair?: string | undefined };
  /** Whether `at` is not a stored row: it is the start of the chain, or the last trimmed row. */
  isTrimmed: boolean;
  from: number;
  events: number;
  erased: number;
  /** The checkpoints that are not passed yet, in order. */
  checkpoints: Pick<Checkpoint, 'seq' | 'hash'>[];
};

export function* verifyChain(options: ChainOptions): Verifying {
  const { keys } = options;
  const progress: Progress = {
    at: { seq: 0, hash: GENESIS },
    isTrimmed: true,
    ...{ from: 0, events: 0, erased: 0 },
    checkpoints: [...(options.checkpoints ?? [])].sort((a, b) => a.seq - b.seq),
  };
  const head = options.head ?? (yield* ask((reads) => reads.head()));
  if (!head) return broken((yield* ask((reads) => reads.extent()))?.last ?? 1, 'head');
  const verdict = yield* verifyRows(progress, head, keys);
  if (verdict) return verdict;
  const { at, from, events, erased, checkpoints } = progress;
  // A checkpoint is left that is after the last row: rows were cut off, or the checkpoint belongs to another log.
  if (checkpoints[0]) return broken(head.seq + 1, 'checkpoint');
  return { ok: true, from, to: at.seq, hash: hex(at.hash), events, erased };
}

/** Verifies all rows up to the head. Returns the first fault. */
function* verifyRows(progress: Progress, head: Link, keys: AuditKeys | undefined): Verifying<Verdict | undefined> {
  /** Rows are read one by one up to this position, because some of them are damaged. */
  let singlyUpTo = 0;
  for (;;) {
    yield;
    const beginning = yield* verifyBeginning(progress, keys);
    if (beginning) return beginning;
    const { at } = progress;
    let rows: StoredRow[];
    try {
      rows = yield* ask((reads) => reads.rows(at.seq, head.seq, at.seq < singlyUpTo ? 1 : reads.rowsAtOnce));
    } catch (error) {
      const [isDamage, rowsAtOnce] = yield* ask((reads) => [reads.isDamage(error), reads.rowsAtOnce] as const);
      if (!isDamage) throw error;
      if (at.seq < singlyUpTo) return yield* unreadableFrom(at.seq + 1, head.seq);
      singlyUpTo = at.seq + rowsAtOnce;
      continue;
    }
    for (const row of rows) {
      const fault = verifyRow(progress, row, yield* ask((reads) => reads.epoch), keys);
      if (fault === 'link') return yield* findAltered(row, progress, head, keys);
      if (fault) return fault;
    }
    if (rows.length > 0 && progress.at.seq < head.seq) continue;
    if (progress.at.seq < head.seq) return broken(at.seq + 1, progress.isTrimmed ? 'beginning' : 'missing');
    return yield* verifyEnd(head, progress.at);
  }
}

/** Continues after the last trimmed row, if rows were trimmed that are not verified yet. */
function* verifyBeginning(progress: Progress, keys: AuditKeys | undefined): Verifying<Verdict | undefined> {
  const trimming = yield* ask((reads) => reads.trimming());
  const isPosition = trimming === undefined || Number.isSafeInteger(trimming.seq);
  const isNew = trimming !== undefined && isPosition && trimming.seq > progress.at.seq;
  if (!isPosition || (isNew && !(yield* isOfLog(trimming, keys)))) {
    return broken((yield* ask((reads) => reads.extent()))?.first ?? progress.at.seq + 1, 'beginning');
  }
  if (isNew) {
    progress.at = { seq: trimming.seq, hash: Buffer.from(trimming.hash, 'hex') };
    progress.isTrimmed = true;
  }
  if (!progress.isTrimmed) return undefined;
  const from = progress.at.seq + 1;
  progress.from = from;
  const { first = from } = (yield* ask((reads) => reads.extent())) ?? {};
  if (first < from) return broken(first, 'beginning');
  return hasOtherCheckpoint(progress) ? broken(from, 'checkpoint') : undefined;
}

function* isOfLog(trimming: Trimming, keys: AuditKeys | undefined): Verifying<boolean> {
  return isAttested(required(keys), 'trimming', trimming) && trimming.epoch === (yield* ask((reads) => reads.epoch));
}

/** Verifies the next row, and goes on to it. `link`: its `prevHash` is not the hash of the row before it. */
function verifyRow(
  progress: Progress,
  row: StoredRow,
  epoch: string,
  keys: AuditKeys | undefined,
): Verdict | 'link' | undefined {
  const { at } = progress;
  if (row.seq !== at.seq + 1) return broken(at.seq + 1, progress.isTrimmed ? 'beginning' : 'missing');
  if (!isHash(row.prevHash) || !isEqual(row.prevHash, at.hash)) return 'link';
  const fault = faultOf(row, epoch, keys);
  if (fault) return broken(row.seq, fault);
  const isEarlier = row.recordedAtMs < (at.recordedAtMs ?? 0);
  if (isEarlier && !isRepair(at.repair, at.seq, epoch, required(keys))) return broken(row.seq, 'row');
  progress.at = { seq: row.seq, hash: rowHash(row), recordedAtMs: row.recordedAtMs, repair: row.repair };
  progress.isTrimmed = false;
  progress.events++;
  if (row.erasure !== undefined) progress.erased++;
  const isOther = row.checkpoint !== undefined && hashIn(row.checkpoint) !== hex(progress.at.hash);
  return hasOtherCheckpoint(progress) || isOther ? broken(row.seq, 'checkpoint') : undefined;
}

/** Drops the checkpoints up to the last verified row. Returns whether one of this row has another hash. */
function hasOtherCheckpoint({ at, checkpoints }: Progress): boolean {
  while (checkpoints[0] && checkpoints[0].seq < at.seq) checkpoints.shift();
  while (checkpoints[0]?.seq === at.seq) if (checkpoints.shift()?.hash !== hex(at.hash)) return true;
  return false;
}

/** Finds the end of a damaged range. */
function* unreadableFrom(from: number, upTo: number): Verifying {
  let to = from;
  for (; to < upTo; to++) {
    yield; // After an error, a store may refuse all further reads of the same moment.
    try {
      yield* ask((reads) => reads.rows(to, to + 1, 1));
      break;
    } catch (error) {
      if (!(yield* ask((reads) => reads.isDamage(error)))) throw error;
    }
  }
  return { ok: false, seq: from, reason: 'unreadable', to };
}

/** Does the reads up to the next pause, all of one moment. Returns the verdict if the verification has ended. */
export function verifyStep(verifying: Verifying, source: ChainSource): Verdict | undefined {
  return source.atOnce(() => {
    let step = verifying.next();
    while (!step.done && step.value) {
      let value: unknown;
      try {
        value = step.value(source);
      } catch (error) {
        step = verifying.throw(error);
        continue;
      }
      step = verifying.next(value);
    }
    return step.done ? step.value : undefined;
  });
}

/** Verifies a log without a pause. */
export function verifyNow(source: ChainSource, options: ChainOptions): Verdict {
  const verifying = verifyChain(options);
  for (;;) {
    const verdict = verifyStep(verifying, source);
    if (verdict) return verdict;
  }
}

/** As {@link verifyStep}, for a store with asynchronous reads. */
export async function verifyStepAsync(verifying: Verifying, reads: ChainReads<true>): Promise<Verdict | undefined> {
  let step = verifying.next();
  while (!step.done && step.value) {
    let value: unknown;
    try {
      value = await step.value(reads);
    } catch (error) {
      step = verifying.throw(error);
      continue;
    }
    step = verifying.next(value);
  }
  return step.done ? step.value : undefined;
}

/** Runs a verification in slices, between which the event loop is free. On abort, rejects with the signal's reason. */
export async function verifyInSlices(
  verifying: Verifying,
  source: ChainSource,
  slice: <T>(work: (until: number) => T) => Promise<T>,
  signal: AbortSignal | undefined,
): Promise<Verdict> {
  for (;;) {
    signal?.throwIfAborted();
    const verdict = await slice((until) => {
      for (;;) {
        const verdict = verifyStep(verifying, source);
        if (verdict || performance.now() >= until) return verdict;
      }
    });
    if (verdict) return verdict;
  }
}

/**
 * Compares `at`, the last verified row, with the stored head. New events may have been logged since the verification began.
 */
function* verifyEnd(head: Link, at: Link): Verifying<Verdict | undefined> {
  const now = yield* ask((reads) => reads.head());
  const last = (yield* ask((reads) => reads.extent()))?.last ?? 0;
  // `at` is after `head` if a trim has deleted rows that were not yet verified. The signed record of the trim covers these
  // rows.
  const isEnd = at.seq > head.seq || isEqual(at.hash, head.hash);
  if (!isEnd || !now || now.seq < Math.max(head.seq, at.seq)) {
    // The first of the rows that were added after the head.
    const added = isEnd || isEqual(head.hash, GENESIS) ? undefined : yield* findPrevHash(head.hash, head.seq);
    return broken(added ?? Math.max(1, head.seq), 'head');
  }
  if (now.seq === head.seq && !isEqual(now.hash, head.hash)) return broken(Math.max(1, head.seq), 'head');
  if (last > now.seq) return broken(now.seq + 1, 'head');
  return (yield* ask((reads) => reads.hasSignedAfter(now.seq))) ? broken(now.seq + 1, 'checkpoint') : undefined;
}

/** Called if the `prevHash` of `row` is not the hash of the row before it. Finds out which of the two was altered. */
function* findAltered(
  row: StoredRow,
  { at: before, isTrimmed: isBeforeTrimmed }: Progress,
  head: Link,
  keys: AuditKeys | undefined,
): Verifying {
  const { seq } = row;
  const next = seq === head.seq ? head.hash : yield* ask((reads) => reads.prevHash(seq + 1));
  const matchesNext = (other: StoredRow) => isHash(other.prevHash) && next && isEqual(rowHash(other), next);
  if (matchesNext(row)) {
    if (isBeforeTrimmed) return broken(seq, 'beginning');
    // Rows may have been inserted before `row`. The first of them has the same `prevHash` as `row`.
    const inserted = yield* findPrevHash(row.prevHash, before.seq);
    return broken(inserted ?? before.seq, 'row');
  }
  if (matchesNext({ ...row, prevHash: before.hash })) return broken(seq, 'row');
  const fault = faultOf(row, yield* ask((reads) => reads.epoch), keys);
  if (fault) return broken(seq, fault);
  // If another row has the predecessor's hash as its `prevHash`, the predecessor is intact, and that other row was moved
  // away.
  if ((yield* findPrevHash(before.hash, head.seq)) !== undefined) return broken(seq, 'order');
  return isBeforeTrimmed ? broken(seq, 'beginning') : broken(before.seq, 'row');
}

function* findPrevHash(hash: Uint8Array, upTo: number): Verifying<number | undefined> {
  const first = (yield* ask((reads) => reads.extent()))?.first ?? 1;
  for (let from = first; from <= upTo; from += ROWS_SEARCHED) {
    const to = Math.min(upTo, from + ROWS_SEARCHED - 1);
    const found = yield* ask((reads) => reads.firstWithPrevHash(hash, from, to));
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
