import { createHash, randomFillSync } from 'node:crypto';

/**
 * What the hash chain is computed over. The texts are kept as they were hashed: a database type that reorders keys or
 * rewrites numbers would break the chain.
 */

/** JSON with the keys of every object in code-unit order and no blanks (RFC 8785 for the values that events hold). */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const object = value as Record<string, unknown>;
  let text = '';
  for (const key of Object.keys(object).sort()) {
    const item = object[key];
    if (item === undefined) continue;
    text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(item)}`;
  }
  return `{${text}}`;
}

const POOL_BYTES = 8_192;
const SALT_BYTES = 16;
const pool = { bytes: Buffer.alloc(POOL_BYTES), used: POOL_BYTES };

/** 16 random bytes: without them, a hash of a short payload could be guessed back after the payload is erased. */
export function newSalt(): Buffer {
  if (pool.used === POOL_BYTES) {
    randomFillSync(pool.bytes);
    pool.used = 0;
  }
  const salt = Buffer.from(pool.bytes.subarray(pool.used, pool.used + SALT_BYTES));
  pool.used += SALT_BYTES;
  return salt;
}

export const payloadHash = (salt: Uint8Array, payload: string): Buffer =>
  createHash('sha256').update(salt).update(payload).digest();

/** The columns of a row that stay when its payload is erased. */
export type ChainedRow = {
  seq: number;
  projectId: string;
  runId: string;
  runSeq: number;
  type: string;
  eventId: string;
  actor: string;
  recordedAtMs: number;
  payloadHash: Uint8Array;
  prevHash: Uint8Array;
};

/** The hash that the next row keeps as its `prevHash`. */
export function rowHash(row: ChainedRow): Buffer {
  const { seq, projectId, runId, runSeq, type, eventId, actor, recordedAtMs } = row;
  return createHash('sha256')
    .update(JSON.stringify([seq, projectId, runId, runSeq, type, eventId, actor, recordedAtMs]))
    .update(row.prevHash)
    .update(row.payloadHash)
    .digest();
}

/** `prevHash` of row 1. */
export const GENESIS = Buffer.alloc(32);
