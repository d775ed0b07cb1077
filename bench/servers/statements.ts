import { randomUUID } from 'node:crypto';
import { PRAGMAS } from '../../server/event-log/sqlite/database.ts';
import { openSqlite, sqliteDriver } from '../../server/event-log/sqlite/driver.ts';
import { INSERT_ROWS } from '../../server/event-log/sqlite/statements.ts';
import { costOf } from './cost.ts';
import { RUNS, STAGES } from './event.ts';
import { optionsOf, serve } from './face.ts';

/**
 * The peer of publishing: the statements of a commit and nothing between them, on a copy of the tables of a log with the
 * same indexes, PRAGMAS and rows. `all`: begin, look up the ids, read run and stage, insert the event, update run and
 * stage, move the head, commit. `row`: begin, insert the event, commit. Each event has another run and stage, as those
 * that the log's own publisher has, and a random id.
 */

/** `from`: file of a log that `publishing.ts` has filled. `to`: file of the copy, or `:memory:`. */
export type Statements = { from: string; to: string };
export type Insert = { count: number; size: number; kind: 'all' | 'row' };

const { from, to } = optionsOf<Statements>();
const log = openSqlite(from, { readOnly: true });
const db = openSqlite(to);
db.exec(`${PRAGMAS}; PRAGMA wal_autocheckpoint = 4000`);
type Row = Record<string, string | number>;
const rowsOf = (table: string) => log.prepare(`SELECT * FROM ${table}`).all() as Row[];
const inserting = (table: string, columns: readonly string[], rows = 1) => {
  const places = `(${columns.map(() => '?').join(', ')})`;
  return db.prepare(`INSERT INTO ${table} (${columns.join(', ')}) VALUES ${Array(rows).fill(places).join(', ')}`);
};
const schema = log.prepare(`SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'`).all();
for (const { sql } of schema as { sql: string }[]) db.exec(sql);
const copied = ['log_head', 'runs', 'stages', 'events'].map((table) => {
  const rows = rowsOf(table);
  const insert = inserting(table, Object.keys(rows[0] ?? {}));
  db.exec('BEGIN');
  for (const row of rows) insert.run(...Object.values(row));
  db.exec('COMMIT');
  return rows;
});
log.close();

const [heads, runs, stages, events] = copied as unknown as [
  { hash: Uint8Array }[],
  { row_id: number; project_id: string; run_id: string; status: string; state: string }[],
  { run_row: number; stage_id: string; state: string }[],
  { payload: string; run_row: number; run_seq: number }[],
];
const columns = Object.keys(events[0] ?? {});
const at = (name: string) => columns.indexOf(name);
const [seqAt, idAt] = [at('seq'), at('event_id')];
const insertEvent = inserting('events', columns);
const insertEvents = inserting('events', columns, INSERT_ROWS);
const findEvents = db.prepare(
  `SELECT event_id, seq, run_seq FROM json_each(?) AS ids CROSS JOIN events ON event_id = ids.value
   WHERE project_id = ?`,
);
const findRun = db.prepare('SELECT row_id, state, status FROM runs WHERE project_id = ? AND run_id = ?');
const findStage = db.prepare('SELECT state FROM stages WHERE run_row = ? AND stage_id = ?');
const moveRunOn = db.prepare('UPDATE runs SET status = ?, last_seq = ?, state = ? WHERE row_id = ?');
const updateStage = db.prepare('UPDATE stages SET last_seq = ?, state = ? WHERE run_row = ? AND stage_id = ?');
const moveHead = db.prepare('UPDATE log_head SET seq = ?, hash = ? WHERE id = 1');
const [begin, commit] = [db.prepare('BEGIN IMMEDIATE'), db.prepare('COMMIT')];

const runOf = new Map(runs.map((row) => [row.row_id, row]));
const stageOf = new Map(stages.map((row) => [`${row.run_row} ${row.stage_id}`, row]));
let seq = events.length;

/** An event, with the rows of its run and stage. */
function next() {
  const template = events[seq % (RUNS * STAGES)] as (typeof events)[number];
  const { stageId } = JSON.parse(template.payload) as { stageId: string };
  const run = runOf.get(template.run_row) as (typeof runs)[number];
  const stage = stageOf.get(`${template.run_row} ${stageId}`) as (typeof stages)[number];
  const eventId = randomUUID();
  template.run_seq += STAGES;
  const values: (string | number)[] = Object.values(template);
  values[seqAt] = ++seq;
  values[idAt] = eventId;
  return { seq, eventId, values, run, stage };
}
type Event = ReturnType<typeof next>;

function insertAll(batch: readonly Event[]): void {
  for (let index = 0; index < batch.length; ) {
    const isWhole = index + INSERT_ROWS <= batch.length;
    const rows = batch.slice(index, index + (isWhole ? INSERT_ROWS : 1));
    (isWhole ? insertEvents : insertEvent).run(...rows.flatMap(({ values }) => values));
    index += rows.length;
  }
}

function insert({ count, size, kind }: Insert) {
  const batches = Array.from({ length: count / size }, () => Array.from({ length: size }, next));
  return costOf(() => {
    for (const batch of batches) {
      begin.run();
      if (kind === 'all') {
        findEvents.all(JSON.stringify(batch.map(({ eventId }) => eventId)), 'bench');
        for (const { run, stage } of batch) {
          findRun.get(run.project_id, run.run_id);
          findStage.get(run.row_id, stage.stage_id);
        }
      }
      insertAll(batch);
      if (kind === 'all') {
        for (const { seq, run, stage } of batch) {
          moveRunOn.run(run.status, seq, run.state, run.row_id);
          updateStage.run(seq, stage.state, run.row_id, stage.stage_id);
        }
        moveHead.run(seq, heads[0]?.hash ?? null);
      }
      commit.run();
    }
  });
}

await serve({
  ...{ port: 0, path: '', greetings: [], subscribed: () => 0 },
  also: {
    insert,
    versions: () => [
      process.versions.node,
      sqliteDriver() === 'node:sqlite' ? 'node:sqlite' : '@photostructure/sqlite',
    ],
  },
});
