import { randomBytes } from 'node:crypto';
import type { Checkpoint, ClockRepair, Erasure, Signed } from '../../../shared/audit.ts';
import { canonicalJson } from './canonical.ts';
import type { AuditKeys } from './keys.ts';

/**
 * Signed records about the log: checkpoints, erasures, trims, repairs of the clock and new epochs. The signed text is
 * a line with the kind of record and its version, then the record as canonical JSON. So a signature for one kind is invalid for another. Hashes are in
 * hexadecimal.
 */

/** Signed statement that all rows up to `seq` were trimmed, with the hash of the row at `seq`. */
export type Trimming = Signed & { epoch: string; seq: number; hash: string };

/**
 * Signed statement that the log's history changed at `seq`: the epoch `before` had other events after this position, or may
 * have had.
 */
export type Renewal = Signed & { epoch: string; before: string; seq: number; at: string; reason: string };

type Kinds = { checkpoint: Checkpoint; erasure: Erasure; trimming: Trimming; clock: ClockRepair; renewal: Renewal };

const textOf = (kind: keyof Kinds, { signature: _, ...fields }: Partial<Signed>): string =>
  `runwire ${kind} v1\n${canonicalJson(fields)}`;

export function attest<K extends keyof Kinds>(
  keys: AuditKeys,
  kind: K,
  fields: Omit<Kinds[K], keyof Signed>,
): Kinds[K] {
  const { keyId } = keys;
  return { ...fields, keyId, signature: keys.sign(textOf(kind, { ...fields, keyId })) } as unknown as Kinds[K];
}

/**
 * Signs a checkpoint of the head (the last row of the log). Returns `last` instead if the head has not moved since that
 * checkpoint.
 */
export function checkpointAt(
  last: Checkpoint | undefined,
  head: { seq: number; hash: Buffer },
  log: { epoch: string; oldest: number; keys: AuditKeys; nowMs: number },
): { checkpoint: Checkpoint; isNew: boolean } {
  if (last?.seq === head.seq && last.epoch === log.epoch) return { checkpoint: last, isNew: false };
  const checkpoint = attest(log.keys, 'checkpoint', {
    epoch: log.epoch,
    seq: head.seq,
    hash: head.hash.toString('hex'),
    oldest: log.oldest,
    at: new Date(log.nowMs).toISOString(),
  });
  return { checkpoint, isNew: true };
}

/** Signs the change to a new, random epoch. */
export function renewalOf(
  before: string,
  seq: number,
  reason: string,
  log: { keys: AuditKeys; nowMs: number },
): Renewal {
  const epoch = randomBytes(8).toString('hex');
  return attest(log.keys, 'renewal', { epoch, before, seq, at: new Date(log.nowMs).toISOString(), reason });
}

export const isAttested = <K extends keyof Kinds>(keys: AuditKeys, kind: K, attested: Kinds[K]): boolean =>
  keys.hasSigned(textOf(kind, attested), attested.keyId, attested.signature);
