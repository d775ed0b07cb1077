import fc from 'fast-check';
import { Client, type CustomTypesConfig, types } from 'pg';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import type { RunView } from '../../../shared/run.ts';
import { startKey } from '../../../shared/run-order.ts';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import {
  append,
  arbitraryTurns,
  attempt,
  created,
  draft,
  folded,
  readAll,
  seqs,
  started,
  T0,
  upTo,
} from '../conformance/kit.ts';
import type { EventLog } from '../contract/store.ts';
import { GENESIS, payloadHash, rowHash } from '../integrity/canonical.ts';
import { openSqliteLog } from '../sqlite/log.ts';
import { openPostgresLog, type PostgresOptions } from './log.ts';
import { approvalOf, artifactOf, headerOf } from './rows.ts';

const server = inject('postgres') as string;

/** Creates an empty database, which is removed after the test. */
async function newDatabase(): Promise<string> {
  const url = await createDatabase(server);
  onTestFinished(() => dropDatabase(server, url));
  return url;
}

async function open(url: string, options: Partial<PostgresOptions> = {}): Promise<EventLog> {
  const log = await openPostgresLog({ url, fold: foldEvent, ...options });
  onTestFinished(() => log.close());
  return log;
}

async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

/** Recomputes every hash and compares positions, times and JSON. */
async function checkChain(url: string): Promise<number> {
  const client = await connect(url);
  const { rows } = await client.query('SELECT * FROM events ORDER BY seq');
  let [prevHash, atMs]: [Buffer, number] = [GENESIS, 0];
  const runSeqs = new Map<string, number>();
  for (const [index, row] of rows.entries()) {
    const runKey = `${row.project_id} ${row.run_id}`;
    const runSeq = (runSeqs.get(runKey) ?? 0) + 1;
    runSeqs.set(runKey, runSeq);
    const recordedAtMs = Number(row.recorded_at_ms);
    expect(recordedAtMs).toBeGreaterThanOrEqual(atMs);
    const event = JSON.parse(row.payload);
    const seq = index + 1;
    expect([Number(row.seq), Number(row.run_seq)]).toEqual([seq, runSeq]);
    const envelope = { seq, runSeq, recordedAt: new Date(recordedAtMs).toISOString(), eventId: row.event_id };
    expect(event).toMatchObject({ ...envelope, projectId: row.project_id, runId: row.run_id, actor: row.actor });
    expect(row.payload_hash).toEqual(payloadHash(row.salt, row.payload));
    expect(row.prev_hash).toEqual(prevHash);
    const columns = {
      seq,
      projectId: row.project_id,
      runId: row.run_id,
      runSeq,
      type: row.type,
      eventId: row.event_id,
    };
    prevHash = rowHash({ ...columns, actor: row.actor, recordedAtMs, payloadHash: row.payload_hash, prevHash });
    atMs = recordedAtMs;
  }
  const { rows: heads } = await client.query('SELECT seq, hash FROM head');
  expect(heads).toEqual([{ seq: String(rows.length), hash: prevHash }]);
  return rows.length;
}

describe.skipIf(server === undefined)('commits in PostgreSQL', () => {
  test('[L15] [L51] seq, time and both hashes are given by the database', async () => {
    const url = await newDatabase();
    const log = await open(url);
    await append(log, created({ createdBy: 'ann' }), started({ runId: 's' }), draft('stage.started', { stageId: 'a' }));
    await append(
      log,
      draft('stage.completed', { stageId: 'a' }),
      draft('artifact.created', { artifactId: 'x', name: 'n' }),
    );
    expect(seqs(await readAll(log))).toEqual(upTo(5));
    expect(await checkChain(url)).toBe(5);
  });

  test('[L2] [L3] [L10] [L51] random batches on two nodes give the answers, events and rows that SQLite gives', async () => {
    const url = await newDatabase();
    const options = { now: () => T0 };
    const nodes = [await open(url, options), await open(url, options)] as const;
    const alone = await openSqliteLog({ path: ':memory:', fold: foldEvent, ...options });
    onTestFinished(() => alone.close());
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.boolean(), arbitraryTurns()), { minLength: 1, maxLength: 4 }),
        async (parts) => {
          const begin = alone.head;
          for (const [isSecond, turns] of parts) {
            const node = nodes[Number(isSecond)] as EventLog;
            for (const turn of turns) {
              // Each round has its own projects.
              const batches = turn.map(({ failsAt, drafts }) => ({
                failsAt,
                drafts: drafts.map((item) => ({ ...item, projectId: `${item.projectId}${begin}` })),
              }));
              const answers = await Promise.all(batches.map((each) => attempt(node, each)));
              const expected: unknown[] = [];
              for (const each of batches) expected.push(await attempt(alone, each));
              expect(answers).toEqual(expected);
            }
          }
          const expected = await readAll(alone, { after: begin });
          for (const node of nodes) {
            await node.reached(alone.head, 10_000);
            expect((await readAll(node, { after: begin })).map(({ json }) => json)).toEqual(
              expected.map(({ json }) => json),
            );
          }
          for (const [projectId, runId] of [`p${begin}`, `q${begin}`].flatMap((id) => [
            [id, 'r'] as const,
            [id, 's'] as const,
          ])) {
            const records = expected.filter((record) => record.projectId === projectId && record.runId === runId);
            expect(await rowsOf(url, projectId, runId)).toEqual(byIds(folded(records)));
          }
        },
      ),
      { numRuns: 40, endOnFailure: true },
    );
    await checkChain(url);
  });
});

const byIds = (view: RunView | undefined) => {
  if (!view) return undefined;
  const { stages, artifacts, approvals, ...header } = view;
  return {
    header,
    stages: Object.fromEntries(stages.map((stage) => [stage.stageId, stage])),
    artifacts: Object.fromEntries(artifacts.map((artifact) => [artifact.artifactId, artifact])),
    approvals: Object.fromEntries(approvals.map((approval) => [approval.approvalId, approval])),
  };
};

/** The rows of a run, as the tables have them. */
async function rowsOf(url: string, projectId: string, runId: string) {
  const client = new Client({ connectionString: url, types: INTEGERS });
  await client.connect();
  try {
    const { rows: runs } = await client.query('SELECT * FROM runs WHERE project_id = $1 AND run_id = $2', [
      projectId,
      runId,
    ]);
    if (!runs[0]) return undefined;
    const header = headerOf(runs[0]);
    expect(runs[0]).toMatchObject({
      status: header.status,
      created_at: header.createdAt,
      last_run_seq: header.lastRunSeq,
    });
    const of = async (table: string) =>
      (await client.query(`SELECT * FROM ${table} WHERE run_row = $1`, [runs[0].row_id])).rows;
    const stages = await of('stages');
    for (const { state, start_key } of stages) {
      const stage = JSON.parse(state);
      expect(start_key).toBe(stage.status === 'running' ? startKey(stage) : null);
    }
    const approvals = await of('approvals');
    for (const row of approvals) {
      const { status, requestActor, requestedBy = null, expiresAt = null, decidedAt = null } = approvalOf(row);
      expect(row).toMatchObject({ project_id: projectId, run_id: runId, status, request_actor: requestActor });
      expect(row).toMatchObject({ requested_by: requestedBy, expires_at: expiresAt, decided_at: decidedAt });
    }
    return {
      header,
      stages: Object.fromEntries(stages.map((row) => [row.stage_id, JSON.parse(row.state)])),
      artifacts: Object.fromEntries((await of('artifacts')).map((row) => [row.artifact_id, artifactOf(row)])),
      approvals: Object.fromEntries(approvals.map((row) => [row.approval_id, approvalOf(row)])),
    };
  } finally {
    await client.end();
  }
}

const INTEGERS = {
  getTypeParser: (oid: number) => (oid === 20 ? Number : types.getTypeParser(oid)),
} as CustomTypesConfig;
