import type { PostgresDatabase } from './database.ts';

/** The kinds of data beside the log that every node keeps in memory. */
export type Kept = 'revocations' | 'sessions' | 'webhooks';

/** What a store of such data needs, besides its tables. */
export type KeptParts = {
  database: PostgresDatabase;
  /** Called after a change of this node is durable, to inform the other nodes at once. */
  changed: (name: Kept) => void;
  /** Calls the listener after another node has changed the rows. Returns a function that removes the listener. */
  onChange: (name: Kept, listener: () => void) => () => void;
};

/**
 * Returns a statement that also counts a change, in one transaction: the other nodes read the rows again when the number
 * differs. The count comes last in all of these statements, because PostgreSQL runs a part that nothing refers to at the
 * end: so they lock rows in one order.
 */
export const counted = (name: Kept, statement: string): string =>
  `WITH counted AS (INSERT INTO revisions AS r (name, revision) VALUES ('${name}', 1)
    ON CONFLICT (name) DO UPDATE SET revision = r.revision + 1)
  ${statement}`;
