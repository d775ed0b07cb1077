import { hash, randomBytes } from 'node:crypto';

/**
 * What the hash chain is computed over. The texts are kept as they were hashed: a database type that reorders keys or
 * rewrites numbers would break the chain.
 */

/** JSON with the keys of every object in code-unit order and no blanks (RFC 8785 for the values that events hold). */
export function canonicalJson(value: unknown): string {
  // Most of the cost is in bringing keys into order, and what comes from KeyOrder needs none of it.
  if (isInOrder(value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  const object = value as Record<string, unknown>;
  let text = '';
  for (const key of Object.keys(object).sort()) {
    const item = object[key];
    if (item === undefined) continue;
    text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(item)}`;
  }
  return `{${text}}`;
}

function isInOrder(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (Array.isArray(value)) return value.every(isInOrder);
  let before = '';
  for (const key in value) {
    if (key < before || !isInOrder(value[key as never])) return false;
    before = key;
  }
  return true;
}

type KnownOrder = { keys: readonly string[]; inOrder: readonly { key: string; isExtra: boolean }[] };

/**
 * Puts fields together in canonical order. Objects of one kind mostly have the same keys, so the order is worked out
 * once and remembered for each kind, of which there should be few.
 */
export class KeyOrder {
  readonly #orders = new Map<string, KnownOrder>();

  /** The fields of both; `extra` wins, and must have the same keys for all of a kind. */
  merge<A extends object, B extends object>(kind: string, base: A, extra: B): A & B {
    const keys = Object.keys(base);
    let known = this.#orders.get(kind);
    if (known?.keys.length !== keys.length || !known.keys.every((key, index) => key === keys[index])) {
      const all = Object.keys({ ...base, ...extra }).sort();
      known = { keys, inOrder: all.map((key) => ({ key, isExtra: Object.hasOwn(extra, key) })) };
      this.#orders.set(kind, known);
    }
    const merged: Record<string, unknown> = {};
    for (const { key, isExtra } of known.inOrder) merged[key] = isExtra ? extra[key as never] : base[key as never];
    return merged as A & B;
  }
}

const POOL_BYTES = 8_192;
const SALT_BYTES = 16;
const pool = { bytes: Buffer.alloc(0), used: 0 };

/** 16 random bytes: without them, a hash of a short payload could be guessed back after the payload is erased. */
export function newSalt(): Buffer {
  if (pool.used === pool.bytes.length) {
    pool.bytes = randomBytes(POOL_BYTES);
    pool.used = 0;
  }
  pool.used += SALT_BYTES;
  return pool.bytes.subarray(pool.used - SALT_BYTES, pool.used);
}

const SCRATCH_BYTES = 256 * 1024;
/** What is hashed is put together here; nothing of it outlives the call. */
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
/** Room for a text, at most 3 bytes a UTF-16 unit, and for what else is hashed with it. */
const roomFor = (text: string) => {
  const bytes = 3 * text.length + 256;
  return bytes <= SCRATCH_BYTES ? scratch : Buffer.allocUnsafe(bytes);
};

/** One call into OpenSSL costs half of what one for each part does; and by way of text, less than a Buffer of its own. */
const sha256 = (bytes: Buffer, length: number): Buffer =>
  Buffer.from(hash('sha256', bytes.subarray(0, length), 'hex'), 'hex');

export function payloadHash(salt: Uint8Array, payload: string): Buffer {
  const bytes = roomFor(payload);
  bytes.set(salt);
  return sha256(bytes, salt.length + bytes.write(payload, salt.length));
}

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
  const { seq, projectId, runId, runSeq, type, eventId, actor, recordedAtMs, prevHash, payloadHash } = row;
  const columns = JSON.stringify([seq, projectId, runId, runSeq, type, eventId, actor, recordedAtMs]);
  const bytes = roomFor(columns);
  const length = bytes.write(columns);
  bytes.set(prevHash, length);
  bytes.set(payloadHash, length + prevHash.length);
  return sha256(bytes, length + prevHash.length + payloadHash.length);
}

/** `prevHash` of row 1. */
export const GENESIS = Buffer.alloc(32);
