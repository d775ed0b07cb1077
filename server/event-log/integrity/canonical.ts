import { hash, randomBytes } from 'node:crypto';

/**
 * Defines the bytes that the hash chain covers. A store must keep a payload (the event's JSON text) exactly as it was
 * hashed: a column type that reorders keys or rewrites numbers (`jsonb`) would break the chain.
 */

/** Returns JSON with sorted keys (by UTF-16 code unit) and no spaces: RFC 8785 for the values that events contain. */
export function canonicalJson(value: unknown): string {
  // Sorting keys is most of the cost, and objects made by `KeyOrder` are sorted already.
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
 * Merges two objects into one with sorted keys. Objects of one kind (events of one type, for example) mostly have the same
 * keys, so the last order of each kind is cached. The number of kinds must be small, because the cache has no limit.
 */
export class KeyOrder {
  readonly #orders = new Map<string, KnownOrder>();

  /** If both objects have a key, the value of `extra` wins. `extra` must have the same keys for all objects of a kind. */
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

/** Returns 16 random bytes. Without a salt, a short payload could be guessed from its hash after its erasure. */
export function newSalt(): Buffer {
  if (pool.used === pool.bytes.length) {
    pool.bytes = randomBytes(POOL_BYTES);
    pool.used = 0;
  }
  pool.used += SALT_BYTES;
  return pool.bytes.subarray(pool.used - SALT_BYTES, pool.used);
}

const SCRATCH_BYTES = 256 * 1024;
/** Buffer for the input of one hash. The next hash overwrites it. */
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
/** Returns a buffer large enough for a text (at most 3 bytes for each UTF-16 unit), a salt and two hashes. */
const bufferFor = (text: string) => {
  const bytes = 3 * text.length + 256;
  return bytes <= SCRATCH_BYTES ? scratch : Buffer.allocUnsafe(bytes);
};

/**
 * Hashes all parts with one call of OpenSSL: it costs half as much as one call for each part. Hexadecimal output is cheaper
 * than a new Buffer.
 */
const sha256 = (bytes: Buffer, length: number): Buffer =>
  Buffer.from(hash('sha256', bytes.subarray(0, length), 'hex'), 'hex');

export function payloadHash(salt: Uint8Array, payload: string): Buffer {
  const bytes = bufferFor(payload);
  bytes.set(salt);
  return sha256(bytes, salt.length + bytes.write(payload, salt.length));
}

/** A text that is the same in JSON, between quotes. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** Returns the JSON of a text or a number. One call of `JSON.stringify` for many short values costs twice as much. */
export function jsonOf(value: string | number): string {
  if (typeof value === 'string' && PLAIN.test(value)) return `"${value}"`;
  return Number.isFinite(value) ? `${value}` : JSON.stringify(value);
}

/** The columns that the row hash covers. An erasure of the payload does not change them. */
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

/** Returns the hash that the next row stores as its `prevHash`. */
export function rowHash(row: ChainedRow): Buffer {
  const { seq, projectId, runId, runSeq, type, eventId, actor, recordedAtMs, prevHash, payloadHash } = row;
  const ids = `${jsonOf(projectId)},${jsonOf(runId)},${jsonOf(runSeq)},${jsonOf(type)},${jsonOf(eventId)},${jsonOf(actor)}`;
  const columns = `[${jsonOf(seq)},${ids},${jsonOf(recordedAtMs)}]`;
  const bytes = bufferFor(columns);
  const length = bytes.write(columns);
  bytes.set(prevHash, length);
  bytes.set(payloadHash, length + prevHash.length);
  return sha256(bytes, length + prevHash.length + payloadHash.length);
}

/** `prevHash` of the first row of a log. */
export const GENESIS = Buffer.alloc(32);
