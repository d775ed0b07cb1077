import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { openPostgresLog } from '../../server/event-log/postgres/log.ts';
import { foldEvent } from '../../shared/events.ts';
import { type Cost, costOf } from './cost.ts';
import { eventOf } from './event.ts';
import { optionsOf, serve } from './face.ts';

/** One node that publishes to a log in PostgreSQL, and its peer: bare inserts into a table of the same shape. */

/** `runs`: prefix of the run ids. `spread`: number of runs in a batch. */
export type Publish = { batches: number; size: number; runs: string; spread: number; publishers: number };
export type Insert = { batches: number; size: number };

const RUNS = 100;
/** Events of a stage: it starts, makes progress, and completes. */
const STAGE_EVENTS = 20;

const { url, number } = optionsOf<{ url: string; number: number }>();
const log = await openPostgresLog({ url, fold: foldEvent });
const client = new pg.Client({ connectionString: url });
await client.connect();

let made = 0;
let batchesMade = 0;
const counts = new Map<string, number>();

function draftOf(runId: string) {
  const count = counts.get(runId) ?? 0;
  counts.set(runId, count + 1);
  const { projectId, timestamp, progress, message } = eventOf(++made, runId);
  const draft = {
    projectId,
    runId,
    timestamp,
    eventId: randomUUID(),
    stageId: `stage-${Math.floor(count / STAGE_EVENTS)}`,
  };
  if (count % STAGE_EVENTS === 0) return { ...draft, type: 'stage.started', name: 'Training' };
  if (count % STAGE_EVENTS === STAGE_EVENTS - 1) return { ...draft, type: 'stage.completed' };
  return { ...draft, type: 'stage.progress', progress, message };
}

const draftsOf = ({ size, runs, spread }: Publish) => {
  const first = batchesMade++ * spread;
  return Array.from({ length: size }, (_, index) => draftOf(`${runs}-${(first + (index % spread)) % RUNS}`));
};

/** The drafts are made here, off the clock: `publish` uses them. */
let ready: ReturnType<typeof draftsOf>[] = [];
function prepare(options: Publish): null {
  ready = Array.from({ length: options.batches }, () => draftsOf(options));
  return null;
}

function publish({ publishers }: Publish): Promise<Cost> {
  const batches = ready.values();
  const publishAll = async () => {
    for (const drafts of batches) await log.append({ actor: 'bench', drafts });
  };
  return costOf(() => Promise.all(Array.from({ length: publishers }, publishAll)));
}

/** Rows that the log has written, as the driver takes them. */
type Row = unknown[];
let rows: Row[] = [];
let columns: string[] = [];
let inserted = 0;

async function readRows(): Promise<null> {
  const text = "SELECT * FROM events WHERE type = 'stage.progress' ORDER BY seq LIMIT 1000";
  const { rows: found, fields } = await client.query<Row>({ text, rowMode: 'array' });
  rows = found;
  columns = fields.map(({ name }) => name);
  return null;
}

function insert({ batches, size }: Insert): Promise<Cost> {
  const [seqAt, idAt] = [columns.indexOf('seq'), columns.indexOf('event_id')];
  let parameter = 0;
  const places = Array.from({ length: size }, () => `(${columns.map(() => `$${++parameter}`).join(', ')})`);
  const text = `INSERT INTO bare (${columns.join(', ')}) VALUES ${places.join(', ')}`;
  const all = Array.from({ length: batches }, () => {
    return Array.from({ length: size }, (): Row => {
      const row = [...(rows[inserted % rows.length] as Row)];
      // Positions of the nodes alternate, as those of a log.
      row[seqAt] = 3 * ++inserted + number;
      row[idAt] = randomUUID();
      return row;
    }).flat();
  });
  return costOf(async () => {
    for (const values of all) await client.query({ name: `insert-${size}`, text, values });
  });
}

await serve({
  ...{ port: 0, path: '', greetings: [], subscribed: () => 0 },
  also: { prepare, publish, readRows, insert },
});
