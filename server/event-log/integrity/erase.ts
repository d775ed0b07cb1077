import { RunwireError } from '../../../shared/errors.ts';
import type { EraseRequest, Erasure } from '../contract/integrity.ts';
import { attest } from './attestation.ts';
import { canonicalJson } from './canonical.ts';
import { isAsLogged, tombstoneHash } from './chain.ts';
import type { AuditKeys } from './keys.ts';

/**
 * Erasure, without the statements. A store does in one transaction:
 *
 * 1. It returns the stored record if the event was erased before.
 * 2. It replaces the payload with `json`, deletes the salt, and stores `erasure`.
 * 3. It folds `event` into the run again. The tombstone wins the same registers as the event did, so its text leaves the
 *    rows of the run, and the other rows stay as they are.
 * 4. It deletes the users of {@link formerUsers}, and the event's words from the search index.
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
  /** The tombstone, and its canonical JSON. */
  event: object;
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

/** Users of the event that its tombstone is not for. The creator of the run and the approvers keep it. */
export const formerUsers = ({ audience, approvers }: Original, createdBy: string | undefined): string[] =>
  (audience ?? []).filter((user) => user !== createdBy && !approvers?.includes(user));

export const eventNotFound = () => new RunwireError('EVENT_NOT_FOUND', 'no such event', { path: 'seq' });

/** A parser's message would quote the text that is to be erased. */
function parse(payload: string): Original {
  try {
    return JSON.parse(payload);
  } catch {
    throw new RunwireError('INTERNAL', 'the event is unreadable: run `runwire verify`', { path: 'seq' });
  }
}
