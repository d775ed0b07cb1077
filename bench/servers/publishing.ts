import { DatabaseSync } from '@photostructure/sqlite';
import { PRAGMAS } from '../../server/event-log/sqlite/database.ts';
import { eventOf } from './event.ts';
import { optionsOf, serve } from './face.ts';
import { draftOf, runwire } from './runwire-server.ts';

/** Durable publishing and its peer in one process with its own clock, because no delivery is measured. */

export type Publish = { count: number; size: number; publishers: number; runs: number };
export type Insert = { count: number; size: number };

const { path, barePath, isGuarded } = optionsOf<{ path: string; barePath: string; isGuarded: boolean }>();
const { server, face } = await runwire({ databaseUrl: `file:${path}`, isGuarded });

const perSecond = async (count: number, work: () => unknown): Promise<number> => {
  const begun = performance.now();
  await work();
  return (count / (performance.now() - begun)) * 1_000;
};

let published = 0;
/** Publishes events in requests of `size`, `publishers` of them in parallel. Drafts and rows of the peer exist before. */
async function publish({ count, size, publishers, runs }: Publish): Promise<number> {
  const drafts = Array.from({ length: count }, (_, index) => {
    const event = eventOf(published++, `published-${index % runs}`);
    return { ...draftOf(event), eventId: event.eventId, timestamp: event.timestamp };
  });
  return perSecond(count, async () => {
    for (let index = 0; index < count; index += size * publishers) {
      const requests = Array.from({ length: publishers }, (_, publisher) => index + publisher * size);
      await Promise.all(
        requests.map((from) => server.bus.publish(drafts.slice(from, from + size), { actor: 'bench' })),
      );
    }
  });
}

/**
 * The peer of durable publishing: the minimum work of any log with this table. It inserts rows that the log itself wrote
 * (payloads, salts and hashes), with one prepared statement, into an empty table with the same definition and indexes,
 * over a connection with the same PRAGMAs: journal, `synchronous`, cache and checkpoints. Transactions have the size of
 * the batches of the log. Positions and event ids count up, with equal length and order on both sides: with random ids
 * their index would dominate both sides, and the ratio would look better.
 *
 * The log additionally validates, folds, updates runs and stages, writes canonical JSON and the hash chain, looks up the
 * event id, creates records and receipts, and wakes readers.
 */
function bareInserts() {
  const from = new DatabaseSync(path, { readOnly: true });
  const schema = from.prepare(`SELECT sql FROM sqlite_schema WHERE tbl_name = 'events' AND sql IS NOT NULL`).all();
  const found = from.prepare('SELECT * FROM events ORDER BY seq').all() as Record<string, never>[];
  from.close();
  const db = new DatabaseSync(barePath);
  db.exec(PRAGMAS);
  for (const { sql } of schema as { sql: string }[]) db.exec(sql);
  const columns = Object.keys(found[0] ?? {});
  const insert = db.prepare(`INSERT INTO events (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`);
  const rows = found.map((each) => columns.map((column) => each[column] as unknown));
  const [seqAt, eventIdAt] = [columns.indexOf('seq'), columns.indexOf('event_id')];
  let next = 0;
  const insertNext = () => {
    const values = rows[next % rows.length] as unknown[];
    next++;
    values[seqAt] = next;
    values[eventIdAt] = eventOf(next, '').eventId;
    insert.run(...(values as never[]));
  };
  return ({ count, size }: Insert): void => {
    for (let index = 0; index < count; index += size) {
      db.exec('BEGIN IMMEDIATE');
      for (let each = 0; each < size; each++) insertNext();
      db.exec('COMMIT');
    }
  };
}

await publish({ count: 1_000, size: 100, publishers: 1, runs: 1 });
const insertBare = bareInserts();

await serve({
  ...face,
  also: {
    publish,
    insert: (argument: Insert) => perSecond(argument.count, () => insertBare(argument)),
  },
});
