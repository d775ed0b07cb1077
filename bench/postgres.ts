import { randomUUID } from 'node:crypto';
import pg from 'pg';
import type { ReadyDraft } from '../server/event-log/contract/log.ts';
import type { EventLog } from '../server/event-log/contract/store.ts';
import { openPostgresLog } from '../server/event-log/postgres/log.ts';
import { foldEvent } from '../shared/events.ts';
import { postgresPrograms, startPostgres } from '../tests/support/postgres.ts';
import { figureOf } from './figures.ts';
import { type Bench, ratio } from './lines.ts';

/**
 * Durable publishing in PostgreSQL, in batches of 100, beside bare batched inserts into a table of the same shape in the same
 * database. The nodes are in one process, so their work is not in parallel: the ratios of three nodes are lower bounds.
 */

const SIZE = 100;
const COLUMNS = `seq, run_row, run_seq, project_id, run_id, type, event_id, actor, recorded_at_ms, payload, salt, payload_hash,
  prev_hash`;
const VALUES = Array.from(
  { length: SIZE },
  (_, row) => `(${Array.from({ length: 13 }, (_, column) => `$${row * 13 + column + 1}`).join(', ')})`,
);

let drafted = 0;
function draftOf(run: string): ReadyDraft & { [key: string]: unknown } {
  const index = drafted++;
  const timestamp = new Date().toISOString();
  const envelope = { projectId: 'p', runId: `${run}-${index % 10}`, timestamp, eventId: randomUUID() };
  const stage = {
    stageId: `stage-${index % 7}`,
    progress: index % 100,
    message: `aligned ${index} reads of the sample`,
  };
  return { type: 'stage.progress', ...envelope, ...stage };
}

const append = (log: EventLog, run: string) =>
  log.append({ actor: 'bench', drafts: Array.from({ length: SIZE }, () => draftOf(run)) });

/** Returns a function that inserts one batch into a table like `events`, with its key and its indexes. */
async function bareInserts(client: pg.Client): Promise<() => Promise<unknown>> {
  await client.query('CREATE TABLE bare (LIKE events); ALTER TABLE bare ADD PRIMARY KEY (seq)');
  await client.query('CREATE INDEX ON bare (run_row, seq); CREATE INDEX ON bare (project_id, seq)');
  const [salt, hash] = [Buffer.alloc(16, 1), Buffer.alloc(32, 2)];
  let seq = 0;
  return () => {
    const values = Array.from({ length: SIZE }, () => {
      const { projectId, runId, type, eventId, ...draft } = draftOf('bare');
      const event = {
        ...draft,
        projectId,
        runId,
        type,
        eventId,
        actor: 'bench',
        recordedAt: draft.timestamp,
        seq: ++seq,
      };
      const ids = [seq, seq % 10, seq, projectId, runId, type, eventId, 'bench', Date.now()];
      return [...ids, JSON.stringify(event), salt, hash, hash];
    }).flat();
    return client.query({ name: 'bare', text: `INSERT INTO bare (${COLUMNS}) VALUES ${VALUES.join(', ')}`, values });
  };
}

export async function postgres(bench: Bench): Promise<void> {
  bench.report.line('Durable publishing in PostgreSQL (synchronous_commit=on), batches of 100');
  if (postgresPrograms === undefined) return bench.report.note('PostgreSQL is not installed: not measured');
  const server = await startPostgres({ isDurable: true });
  try {
    const url = await server.createDatabase();
    const logs = await Promise.all([1, 2, 3].map(() => openPostgresLog({ url, fold: foldEvent })));
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const insert = await bareInserts(client);
    const batches = bench.isQuick ? 12 : 60;
    const perSecond = async (work: (batch: number) => Promise<unknown>) => {
      const begun = performance.now();
      for (let batch = 0; batch < batches; batch++) await work(batch);
      return ((batches * SIZE) / (performance.now() - begun)) * 1_000;
    };
    const byThree = (runOf: (node: number) => string) => async () => {
      const begun = performance.now();
      await Promise.all(
        logs.map(async (log, node) => {
          for (let batch = 0; batch < batches / 3; batch++) await append(log, runOf(node));
        }),
      );
      return ((batches * SIZE) / (performance.now() - begun)) * 1_000;
    };
    const samples = await bench.inTurn(
      new Map([
        ['bare inserts', () => perSecond(insert)],
        ['one node', () => perSecond(() => append(logs[0] as EventLog, 'one'))],
        ['three nodes, runs of their own', byThree((node) => `own-${node}`)],
        ['three nodes, the same runs', byThree(() => 'same')],
      ]),
      (rate) => rate(),
    );
    for (const [name, of] of samples) bench.report.row(name, 'events/s', of);
    const figure = (name: string) => figureOf(samples.get(name) ?? []);
    const against = (name: string, atLeast: number) =>
      bench.report.check(`${name}, against bare inserts`, ratio(figure(name), figure('bare inserts')), { atLeast });
    against('one node', 0.4);
    against('three nodes, runs of their own', 0.4);
    against('three nodes, the same runs', 0.25);
    for (const log of logs) await log.close();
    await client.end();
  } finally {
    await server.remove();
  }
}
