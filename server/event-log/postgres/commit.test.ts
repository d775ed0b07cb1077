import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { Client, type CustomTypesConfig, types } from 'pg';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import type { RunView } from '../../../shared/run.ts';
import { startKey } from '../../../shared/run-order.ts';
import { connect, newDatabase, open } from '../../../tests/support/postgres-log.ts';
import {
  append,
  arbitraryTurns,
  attempt,
  created,
  draft,
  folded,
  instant,
  readAll,
  seqs,
  started,
  T0,
  upTo,
} from '../conformance/kit.ts';
import type { EventLog } from '../contract/store.ts';
import { GENESIS, payloadHash, rowHash } from '../integrity/canonical.ts';
import { openSqliteLog } from '../sqlite/log.ts';
import { READ_STATEMENTS } from './reads.ts';
import { approvalOf, artifactOf, headerOf } from './rows.ts';

const server = inject('postgres') as string;

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
  test('[L51] rows that another node has written after the provisional positions began are folded on their own', async () => {
    const url = await newDatabase();
    const [a, b] = [await open(url), await open(url)];
    await append(a, created({ runId: 'r1' }), created({ runId: 'r2' }));
    await append(b, draft('artifact.created', { runId: 'r1', artifactId: 'x', name: 'X' }));
    await append(a, started({ runId: 'r1' }));
    // Positions that the committer of the first node has not seen.
    const requested = draft('governance.required', { runId: 'r2', approvalId: 'ap', title: 'T' });
    const [, receipt] = await append(b, started({ runId: 'r2' }), requested);
    await a.append({
      actor: 'ci',
      drafts: [
        draft('run.completed', { runId: 'r1' }),
        draft('approval.granted', { runId: 'r2', approvalId: 'ap', decidedBy: 'ann' }),
      ],
      // The row is not in memory: it is read in the middle of the fold.
      check: (rows, { runId }) => runId === 'r1' && rows.artifact('x')?.name,
    });
    const client = await connect(url);
    const { rows } = await client.query('SELECT request_seq::int AS seq, status FROM approvals');
    expect(rows).toEqual([{ seq: receipt?.seq, status: 'granted' }]);
  });

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

  /** A log with `count` running stages in the run `r`. The node has the last four in memory, and has changed them. */
  async function withStages(url: string, count: number) {
    const [log, other] = [await open(url), await open(url)];
    const at = (index: number) => ({ stageId: `s${index}`, timestamp: instant(index) });
    await append(other, created(), ...upTo(count).map((index) => draft('stage.started', at(index))));
    const last = upTo(4).map((index) => at(count - 4 + index));
    await append(log, ...last.map((stage) => draft('stage.progress', { ...stage, progress: 1 })));
    const complete = (...indexes: number[]) =>
      append(log, ...indexes.map((index) => draft('stage.completed', { stageId: `s${index}` })));
    return { log, other, complete };
  }

  test('[L51] a run that another node changes while its running stages are read has each of them once in memory', async () => {
    const url = await newDatabase();
    const { log, other, complete } = await withStages(url, 12);
    await append(other, draft('stage.progress', { stageId: 's1', progress: 2 }));
    await complete(12, 11, 10, 9);
    for (const index of [8, 7, 6, 5, 4, 3]) await complete(index);
    const records = await readAll(log);
    expect(folded(records)).toMatchObject((await log.runs.get('p', 'r'))?.run ?? {});
  });

  test('[L51] nodes commit under another default isolation of the database too', async () => {
    const url = await newDatabase();
    const client = await connect(url);
    const name = new URL(url).pathname.slice(1);
    await client.query(`ALTER DATABASE "${name}" SET default_transaction_isolation = 'serializable'`);
    const nodes = await Promise.all([open(url), open(url), open(url)]);
    const answers = nodes.flatMap((node, nth) =>
      upTo(40).map(async (index) => {
        for (let waited = 0; waited < index % 5; waited++) await setImmediate();
        await append(node, started({ runId: `r${index % 7}` }));
        await node.revocations.put({ kind: 'jti', id: `${nth} ${index}` });
      }),
    );
    await Promise.all(answers);
    expect(await checkChain(url)).toBe(120);
  });

  test('[L2] [L51] a batch that takes several statements is logged whole or not at all', async () => {
    const url = await newDatabase();
    const [log, other] = [await open(url), await open(url)];
    const stages = upTo(10_000).map((index) => ({ stageId: `stage-${index}`, name: 'x'.repeat(200) }));
    await append(log, created({ stages }), draft('stage.started', { stageId: 'stage-9999' }));
    expect((await log.runs.get('p', 'r'))?.run.counts.stages).toBe(10_000);
    const large = upTo(120).map((index) => started({ runId: `r${index % 3}`, padding: 'ü'.repeat(30_000) }));
    const receipts = await append(other, created({ runId: 'r0' }), ...large);
    expect(seqs(receipts)).toEqual(upTo(121).map((seq) => seq + 2));
    const refused = other.append({
      actor: 'ci',
      drafts: [...upTo(120).map(() => started({ padding: 'ü'.repeat(30_000) })), started({ eventId: 'last' })],
      check: (_, { eventId }) => {
        if (eventId === 'last') throw new Error('no');
      },
    });
    await expect(refused).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(await append(log, started({ runId: 'r0' }))).toMatchObject([{ seq: 124, runSeq: 42 }]);
    expect(await checkChain(url)).toBe(124);
  });

  test('[L51] nodes that write to the same runs at once log every event once, in one chain', async () => {
    const url = await newDatabase();
    const nodes = await Promise.all(upTo(3).map(() => open(url)));
    const repeated = started({ eventId: 'repeated' });
    const receipts = await Promise.all(
      nodes.flatMap((node, index) =>
        upTo(40).map(async (batch) => {
          const drafts = upTo(5).map((at) =>
            draft('stage.progress', { runId: `r${at % 2}`, stageId: `s${at}`, done: batch }),
          );
          await append(node, started({ runId: `own${index}` }));
          return append(node, ...drafts, repeated);
        }),
      ),
    );
    const all = receipts.flat().filter(({ eventId }) => eventId !== 'repeated');
    expect(new Set(seqs(all)).size).toBe(600);
    const copies = receipts.flat().filter(({ eventId }) => eventId === 'repeated');
    expect(new Set(seqs(copies)).size).toBe(1);
    expect(copies.filter(({ isDuplicate }) => !isDuplicate)).toHaveLength(1);
    expect(await checkChain(url)).toBe(721);
    for (const run of ['r0', 'r1']) {
      const records = await readAll(nodes[0] as EventLog, { scope: { kind: 'run', projectId: 'p', runId: run } });
      expect(await rowsOf(url, 'p', run)).toEqual(byIds(folded(records)));
    }
  });

  test('[L54] the reads of events follow indexes', async () => {
    const url = await newDatabase();
    const log = await open(url);
    for (let batch = 0; batch < 20; batch++) {
      await append(log, ...upTo(250).map((index) => started({ runId: `r${index}`, audience: [`user-${index}`] })));
    }
    const client = await connect(url);
    await client.query('ANALYZE');
    const ids = { all: [], project: ['p'], run: ['p', 'r1'], user: ['user-1'], scan: ['p', 'r1'] };
    const statements: [string, unknown[]][] = [
      ...Object.entries(ids).map(([name, of]): [string, unknown[]] => [
        READ_STATEMENTS[name as keyof typeof READ_STATEMENTS],
        [2_000, 5_000, 64, ...of],
      ]),
      [READ_STATEMENTS.seqOf, ['p', 'x']],
      [READ_STATEMENTS.hashPrefixes, [[3, 4_000]]],
    ];
    for (const [text, values] of statements) {
      for (const mode of ['force_generic_plan', 'force_custom_plan']) {
        await client.query(`SET plan_cache_mode = ${mode}`);
        const name = `${mode} ${text.length}`;
        const { rows } = await client.query({ name, text: `EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values });
        const plan = JSON.stringify(rows);
        const sequential = [...plan.matchAll(/"Seq Scan"[^{}]*?"Relation Name":"(\w+)"/g)].map(([, table]) => table);
        expect(sequential.filter((table) => table !== 'head')).toEqual([]);
        // No node reads many more rows than a page has.
        const read = [...plan.matchAll(/"Actual Rows":(\d+),"Actual Loops":(\d+)/g)];
        expect(Math.max(...read.map(([, rowCount, loops]) => Number(rowCount) * Number(loops))), text).toBeLessThan(
          130,
        );
        const removed = [...plan.matchAll(/"Rows Removed by (?:Filter|Index Recheck)":(\d+)/g)];
        expect(
          removed.every(([, count]) => Number(count) < 130),
          text,
        ).toBe(true);
      }
    }
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
