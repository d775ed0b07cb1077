import { createHash, randomBytes } from 'node:crypto';
import { RunwireError } from '../../../shared/errors.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { lockHead, putMeta, type Query } from './database.ts';

/**
 * The key that signs the records of the log, the same one on all nodes, and the secret that replaces ids.
 *
 * - With `AUDIT_KEY`, the private key is not in the database. The secret is derived from it, unless the database has one
 *   already. The database keeps the ids of the keys that have signed, and a digest of the secret.
 * - Without it, both are rows of `meta`, made at the first start.
 */

export type LogKeys = {
  keys: AuditKeys;
  /** See `Log.secret`. */
  secret: string;
  /** Id of the log: the epoch in signed records. It stays when the history gets a new epoch. */
  id: string;
};

/** Rows of `meta`. */
const ID = 'id';
const KEY = 'audit_key';
/** JSON of the ids of the keys that have signed; the last one signs now. */
const KEY_IDS = 'audit_key_ids';
const SECRET = 'secret';
const SECRET_DIGEST = 'secret_digest';

/** Opens or makes the keys, in one transaction, when `head` has its row. Throws `INVALID_INPUT` for the wrong `AUDIT_KEY`. */
export async function openKeys(query: Query, auditKey: string | undefined): Promise<LogKeys> {
  await lockHead(query); // Two nodes that start at once would make two keys.
  const rows = await query<{ key: string; value: string }>({
    text: 'SELECT key, value FROM meta WHERE key = ANY ($1)',
    values: [[ID, KEY, KEY_IDS, SECRET, SECRET_DIGEST]],
  });
  const meta = new Map(rows.map(({ key, value }) => [key, value]));
  const put = async (key: string, value: string) => {
    meta.set(key, value);
    await putMeta(query, key, value);
  };
  const id = meta.get(ID) as string;
  const former = JSON.parse(meta.get(KEY_IDS) ?? '[]') as string[];

  if (auditKey === undefined) {
    if (!meta.has(KEY)) {
      const last = former.at(-1);
      if (last !== undefined) throw refusal(`is required: the records of this log are signed with the key ${last}`);
      await put(KEY, AuditKeys.newPem());
    }
    if (!meta.has(SECRET)) {
      if (meta.has(SECRET_DIGEST)) throw refusal('is required: the replacements of ids are made with it');
      await put(SECRET, randomBytes(32).toString('hex'));
    }
  }
  const keys = auditKey === undefined ? new AuditKeys(meta.get(KEY) as string) : keysIn(auditKey);
  const isNew = former.at(-1) !== keys.keyId;
  const unknown = former.find((id) => !keys.trusts(id));
  if (unknown !== undefined) {
    throw refusal(
      `is not the key ${unknown}, which has signed records of this log: set that key, or add it after the new one`,
    );
  }
  if (
    isNew &&
    former.length > 0 &&
    (await query({ text: 'SELECT 1 FROM nodes WHERE lease_until > clock_timestamp()' })).length > 0
  ) {
    throw refusal('differs from the key of the running servers: a new key is taken while none of them runs');
  }
  if (isNew) await put(KEY_IDS, JSON.stringify([...former.filter((id) => id !== keys.keyId), keys.keyId]));
  // The operator keeps the key from now on.
  if (auditKey !== undefined) await query({ text: 'DELETE FROM meta WHERE key = $1', values: [KEY] });

  const stored = meta.get(SECRET);
  if (stored !== undefined) return { keys, secret: stored, id };
  const secrets = keys.secretsOf(id);
  const known = meta.get(SECRET_DIGEST);
  const secret = known === undefined ? secrets[0] : secrets.find((each) => digestOf(each) === known);
  if (secret === undefined) {
    throw refusal('lacks the private key with which ids were replaced in this log: add that key after the new one');
  }
  if (known === undefined) await put(SECRET_DIGEST, digestOf(secret));
  return { keys, secret, id };
}

const digestOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');

function keysIn(auditKey: string): AuditKeys {
  const keys = AuditKeys.inText(auditKey);
  if (keys.canSign) return keys;
  throw refusal('has no private key');
}

const refusal = (message: string) => new RunwireError('INVALID_INPUT', `AUDIT_KEY ${message}`, { path: 'AUDIT_KEY' });
