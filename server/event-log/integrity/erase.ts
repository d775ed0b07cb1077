import type { Erasure } from '../../../shared/audit.ts';
import { RunwireError } from '../../../shared/errors.ts';
import type { EraseRequest } from '../contract/integrity.ts';
import { attest } from './attestation.ts';
import { canonicalJson } from './canonical.ts';
import { isAsLogged, tombstoneHash } from './chain.ts';
import type { AuditKeys } from './keys.ts';

/**
 * Erasure of an event's text: the part without SQL, for any store. In one transaction, a store does these steps:
 *
 * 1. If the event was erased before, it returns the stored record and changes nothing.
 * 2. It replaces the event's payload with `json` (the tombstone), deletes the salt, and stores `erasure` (the signed
 *    record).
 * 3. It folds `event` (the tombstone as an object) into the run again. A tombstone has the sort key of its event, so it
 *    overwrites the values that the event had set, and no others: the text leaves the rows of the run.
 * 4. It deletes the event from the lists of the users of {@link formerUsers}, and its words from the search index.
 */

export type ErasableEvent = {
  seq: number;
  runSeq: number;
  projectId: string;
  runId: string;
  type: string;
  payload: string;
  salt: Uint8Array;
  payloadHash: Uint8Array;
};

type Original = { audience?: string[]; approvers?: string[] };
export type ErasurePlan = {
  original: Original;
  /** The tombstone. */
  event: object;
  /** The tombstone as canonical JSON: the new payload. */
  json: string;
  erasure: Erasure;
};

export function planErasure(
  found: ErasableEvent,
  { by, reason, tombstone }: EraseRequest,
  log: { epoch: string; keys: AuditKeys; nowMs: number },
): ErasurePlan {
  const { seq, projectId, runId, payload, payloadHash } = found;
  const original = parse(payload);
  const event = tombstone(original);
  const json = canonicalJson(event);
  const erasure = attest(log.keys, 'erasure', {
    epoch: log.epoch,
    seq,
    projectId,
    runId,
    payloadHash: Buffer.from(payloadHash).toString('hex'),
    tombstoneHash: tombstoneHash(json),
    at: new Date(log.nowMs).toISOString(),
    by,
    reason,
    ...(isAsLogged(found) ? {} : { altered: true as const }),
  });
  return { original, event, json, erasure };
}

/**
 * The users that the event was for and its tombstone is not for: the audience without the creator of the run and the
 * approvers.
 */
export const formerUsers = ({ audience, approvers }: Original, createdBy: string | undefined): string[] =>
  (audience ?? []).filter((user) => user !== createdBy && !approvers?.includes(user));

export const eventNotFound = () => new RunwireError('EVENT_NOT_FOUND', 'no such event', { path: 'seq' });

/** Discards the parser's error: its message would quote the text that must be erased. */
function parse(payload: string): Original {
  try {
    return JSON.parse(payload);
  } catch {
    throw new RunwireError('INTERNAL', 'the event is unreadable: run `runwire verify`', { path: 'seq' });
  }
}
