import { type PostgresDatabase, putMeta } from './database.ts';
import { findDamage, readHead } from './head.ts';
import { renewEpochIn, type Signing } from './integrity.ts';

/**
 * Compares the log with what it was, before a node serves it. It gets a new epoch if its last row is not the one that was
 * logged last (`damaged`), or if the database is on another timeline of PostgreSQL than before (`restored`): a restore or a
 * replica that took over may lack the last commits. Where another node has run meanwhile, that node has compared them.
 */

/** The cluster, and its timeline: the first 8 digits of the name of a WAL file. */
const PLACE = `SELECT system_identifier || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS place
  FROM pg_control_system()`;
const STORED = `SELECT (SELECT value FROM meta WHERE key = 'history') AS place,
  EXISTS (SELECT FROM nodes WHERE lease_until > clock_timestamp()) AS "hasNodes"`;

export type Proof = {
  damage: { seq: number } | undefined;
  renewed: { reason: 'damaged' | 'restored'; before: string; epoch: string } | undefined;
};

export async function proveHistory(database: PostgresDatabase, signing: Signing): Promise<Proof> {
  // A provider may forbid the function: then only running nodes notice a restore.
  const [now] = await database.read<{ place: string }>({ text: PLACE }).catch(() => []);
  return database.write(async (query) => {
    const damage = await findDamage(query);
    const [stored] = await query<{ place: string | null; hasNodes: boolean }>({ text: STORED });
    const before = stored?.place ?? undefined;
    if (now && now.place !== before) await putMeta(query, 'history', now.place);
    const isOther = now !== undefined && before !== undefined && now.place !== before && !stored?.hasNodes;
    const reason = damage ? 'damaged' : isOther ? 'restored' : undefined;
    if (!reason) return { damage, renewed: undefined };
    const { epoch } = await readHead(query);
    return { damage, renewed: { reason, before: epoch, epoch: await renewEpochIn(query, reason, signing) } };
  });
}
