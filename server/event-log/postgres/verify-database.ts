import type { Verdict } from '../../../shared/audit.ts';
import { RunwireError } from '../../../shared/errors.ts';
import type { ChainOptions } from '../integrity/chain.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { verifyPostgres } from './chain.ts';
import { PostgresDatabase } from './database.ts';
import { migrations } from './schema.ts';

type DatabaseOptions = Omit<ChainOptions, 'keys' | 'head'> & {
  /** Default: the key in the database, if there is one. */
  keys?: AuditKeys | undefined;
  /** Called before the rows are read. If it throws, the verification ends with that error. */
  check?: (log: { epoch: string; keys: AuditKeys | undefined }) => void;
};

const META = `SELECT (SELECT value FROM meta WHERE key = 'id') AS id,
  (SELECT value FROM meta WHERE key = 'audit_key') AS "auditKey",
  (SELECT value FROM meta WHERE key = 'schema_version') AS version, (SELECT epoch FROM head) AS epoch`;
type Meta = { id: string | null; auditKey: string | null; version: string | null; epoch: string | null };

const UNDEFINED_TABLE = '42P01';
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/**
 * Verifies the log in a database with a connection of its own, in read-only transactions; servers may be running on it. Throws
 * `UNAVAILABLE` for a database that cannot be read, or is not a log of this release.
 */
export async function verifyPostgresDatabase(url: string, options: DatabaseOptions): Promise<Verdict> {
  const database = new PostgresDatabase(url, () => undefined);
  try {
    const [meta] = await database.read<Meta>({ text: META });
    const { id, epoch } = meta ?? {};
    if (!id || Number(meta?.version) !== migrations.length) {
      throw new RunwireError(
        'UNAVAILABLE',
        'the database has an older or newer schema: start a server of this release on it once',
      );
    }
    const keys = options.keys ?? (meta?.auditKey ? new AuditKeys(meta.auditKey) : undefined);
    options.check?.({ epoch: epoch ?? id, keys });
    return await verifyPostgres(database, id, { keys, checkpoints: options.checkpoints });
  } catch (error) {
    const { cause } = error as Error;
    if (error instanceof RunwireError && cause === undefined) throw error;
    const isEmpty = (cause as { code?: string } | undefined)?.code === UNDEFINED_TABLE;
    const message = isEmpty
      ? 'the database has no event log'
      : `the database cannot be read: ${messageOf(cause ?? error)}`;
    throw new RunwireError('UNAVAILABLE', message, { cause: error });
  } finally {
    await database.close();
  }
}
