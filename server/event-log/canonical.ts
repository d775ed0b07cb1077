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
  for (const key of Object.keys(value)) {
    if (key < before || !isInOrder(value[key as never])) return false;
    before = key;
  }
  return true;
}

/**
 * Puts fields together in canonical order. Objects of one kind mostly have the same keys, so the order is worked out
 * once and remembered for each kind, of which there should be few.
 */
export class KeyOrder {
  readonly #orders = new Map<string, { keys: readonly string[]; inOrder: readonly string[] }>();

  /** The fields of both; `extra` wins. */
  merge<A extends object, B extends object>(kind: string, base: A, extra: B): A & B {
    const fields = Object.assign({}, extra, base, extra) as Record<string, unknown>;
    const keys = Object.keys(fields);
    let known = this.#orders.get(kind);
    if (known?.keys.length !== keys.length || !known.keys.every((key, index) => key === keys[index])) {
      known = { keys, inOrder: keys.toSorted() };
      this.#orders.set(kind, known);
    }
    const merged: Record<string, unknown> = {};
    for (const key of known.inOrder) merged[key] = fields[key];
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

/** What is hashed is put together here; nothing of it outlives the call. */
const scratch = Buffer.allocUnsafeSlow(256 * 1024);

/** SHA-256 of a text as UTF-8 between bytes. One call into OpenSSL costs half of what one for each part does. */
function sha256(before: Uint8Array, text: string, ...after: Uint8Array[]): Buffer {
  const limit = before.length + 3 * text.length + after.reduce((sum, bytes) => sum + bytes.length, 0);
  const target = limit <= scratch.length ? scratch : Buffer.allocUnsafe(limit);
  target.set(before);
  let length = before.length;
  length += target.write(text, length);
  for (const bytes of after) {
    target.set(bytes, length);
    length += bytes.length;
  }
  // By way of text, which costs less than a Buffer that is made outside of JavaScript.
  return Buffer.from(hash('sha256', target.subarray(0, length), 'hex'), 'hex');
}

export const payloadHash = (salt: Uint8Array, payload: string): Buffer => sha256(salt, payload);

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

const NOTHING = new Uint8Array();

/** The hash that the next row keeps as its `prevHash`. */
export function rowHash(row: ChainedRow): Buffer {
  const { seq, projectId, runId, runSeq, type, eventId, actor, recordedAtMs } = row;
  const columns = JSON.stringify([seq, projectId, runId, runSeq, type, eventId, actor, recordedAtMs]);
  return sha256(NOTHING, columns, row.prevHash, row.payloadHash);
}

/** `prevHash` of row 1. */
export const GENESIS = Buffer.alloc(32);
