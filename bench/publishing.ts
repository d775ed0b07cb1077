import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { signToken } from '../server/auth.ts';
import type { ReadyDraft } from '../server/event-log/log.ts';
import { PRAGMAS } from '../server/event-log/sqlite-schema.ts';
import { createRunServer } from '../server/run-server.ts';
import { answer, inTurn, perSecond, progressOf, row, say, startLoad, times } from './measure.ts';

/**
 * The peer of durable publishing: the least that any log on this table would have to do. It inserts rows that the log
 * itself wrote (their payloads, salts and hashes), with one prepared statement, into an empty table of the same
 * definition with the same indexes, by a connection with the same PRAGMAs: journal, `synchronous`, cache and checkpoints.
 * Transactions are as large as the log's batches. Positions count up, as do event ids, of the same length and in the same
 * order as the log's: with random ones the index on them would be most of the cost on both sides, and the ratio better.
 *
 * What the log does besides: validating, folding, the rows of runs and stages, canonical JSON, the hash chain, looking
 * for the event id, records and receipts, waking readers.
 */
function bareInserts(folder: string, source: string) {
  const from = new DatabaseSync(join(folder, source), { readOnly: true });
  const schema = from.prepare(`SELECT sql FROM sqlite_schema WHERE tbl_name = 'events' AND sql IS NOT NULL`).all();
  const found = from.prepare('SELECT * FROM events ORDER BY seq').all() as Record<string, never>[];
  from.close();
  const db = new DatabaseSync(join(folder, 'bare.db'));
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
    values[eventIdAt] = `event-${String(next).padStart(10, '0')}`;
    insert.run(...(values as never[]));
  };
  return {
    insert(count: number, size: number): void {
      for (let index = 0; index < count; index += size) {
        db.exec('BEGIN IMMEDIATE');
        for (let each = 0; each < size; each++) insertNext();
        db.exec('COMMIT');
      }
    },
    close: () => db.close(),
  };
}

/** Through the bus of a whole server, while `readers` on other runs are connected. */
export async function publishing(folder: string, readers: number): Promise<void> {
  say(`\nDurable publishing (SQLite, WAL, synchronous=FULL; 400-byte events; ${readers} readers on other runs)`);
  const secret = 'the secret of the bench, of 32 bytes and more';
  const databaseUrl = `file:${join(folder, 'publishing.db')}`;
  const server = await createRunServer({ databaseUrl, authSecret: secret, port: 0, heartbeatMs: 600_000 });
  const { port } = await server.listen();
  const token = await signToken({ secret }, { sub: 'bench', projects: ['*'], roles: ['viewer'], ttlSeconds: 3_600 });
  const load = startLoad();
  await answer(load, {
    kind: 'open',
    port,
    path: '/ws?connectionParams=1',
    clients: readers,
    greetings: [
      JSON.stringify({ method: 'connectionParams', data: { token } }),
      JSON.stringify({
        id: 1,
        method: 'subscription',
        params: { path: 'onRunEvent', input: { runId: 'other-{client}', projectId: 'bench' } },
      }),
    ],
  });
  await answer(load, { kind: 'expect', frames: 2 * readers }); // `started` and `stream.live` of each.

  const publish = (drafts: ReadyDraft[]) => server.bus.publish(drafts as never, { actor: 'bench' });
  const oneRun = () => 'run';
  const manyRuns = (index: number) => `run-${index % 100}`;
  /** Publishes events in requests of `size`, `publishers` of them at once. The drafts are ready, as are the peer's rows. */
  const published = (count: number, size: number, publishers: number, runOf: (index: number) => string) => {
    const drafts = Array.from({ length: count }, (_, index) => progressOf(runOf(index), index));
    return perSecond(count, async () => {
      for (let index = 0; index < count; index += size * publishers) {
        const requests = Array.from({ length: publishers }, (_, publisher) => index + publisher * size);
        await Promise.all(requests.map((from) => publish(drafts.slice(from, from + size))));
      }
    });
  };
  await published(1_000, 100, 1, oneRun);
  const bare = bareInserts(folder, 'publishing.db');
  const found = await inTurn({
    alone: () => published(1_000, 1, 1, oneRun),
    bareAlone: () => perSecond(1_000, () => bare.insert(1_000, 1)),
    batches: () => published(20_000, 100, 1, oneRun),
    ofOneRun: () => published(20_000, 1, 100, oneRun),
    ofManyRuns: () => published(20_000, 1, 100, manyRuns),
    bareBatches: () => perSecond(20_000, () => bare.insert(20_000, 100)),
  });
  const { bareAlone, bareBatches } = found;
  row('one at a time', 'events/s', found.alone, `${times(found.alone, bareAlone)} bare`);
  row('  bare inserts, a transaction each', 'rows/s', bareAlone);
  row('batches of 100', 'events/s', found.batches, `${times(found.batches, bareBatches)} bare`);
  row('100 publishers at once, one run', 'events/s', found.ofOneRun, `${times(found.ofOneRun, bareBatches)} bare`);
  row('100 publishers at once, 100 runs', 'events/s', found.ofManyRuns, `${times(found.ofManyRuns, bareBatches)} bare`);
  row('  bare inserts, 100 to a transaction', 'rows/s', bareBatches);
  bare.close();
  load.kill();
  await server.close();
}
