import type { Checkpoint, Erasure, Signed } from '../contract/integrity.ts';
import { canonicalJson } from './canonical.ts';
import type { AuditKeys } from './keys.ts';

/**
 * What the log says of itself under its key. Each is signed as canonical JSON below a line that says what it is and in
 * which version, so that no signature can be taken for one of another kind; hashes are hexadecimal.
 */

/** That retention has removed everything up to a row, and which hash that row had. */
export type Trimming = Signed & { epoch: string; seq: number; hash: string };

type Kinds = { checkpoint: Checkpoint; erasure: Erasure; trimming: Trimming };

const textOf = (kind: keyof Kinds, { signature: _, ...said }: Partial<Signed>): string =>
  `runwire ${kind} v1\n${canonicalJson(said)}`;

export function attest<K extends keyof Kinds>(keys: AuditKeys, kind: K, said: Omit<Kinds[K], keyof Signed>): Kinds[K] {
  const { keyId } = keys;
  return { ...said, keyId, signature: keys.sign(textOf(kind, { ...said, keyId })) } as unknown as Kinds[K];
}

/** The checkpoint of a head: `last` again if the head has not moved since. */
export function checkpointAt(
  last: Checkpoint | undefined,
  head: { seq: number; hash: Buffer },
  log: { epoch: string; oldest: number; keys: AuditKeys; nowMs: number },
): { checkpoint: Checkpoint; isNew: boolean } {
  if (last?.seq === head.seq) return { checkpoint: last, isNew: false };
  const checkpoint = attest(log.keys, 'checkpoint', {
    epoch: log.epoch,
    seq: head.seq,
    hash: head.hash.toString('hex'),
    oldest: log.oldest,
    at: new Date(log.nowMs).toISOString(),
  });
  return { checkpoint, isNew: true };
}

export const isAttested = <K extends keyof Kinds>(keys: AuditKeys, kind: K, attested: Kinds[K]): boolean =>
  keys.hasSigned(textOf(kind, attested), attested.keyId, attested.signature);
