import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import type { Projects } from '../contract/search.ts';
import { COUNTED, OPEN_STATEMENTS } from './activity.ts';
import { APPROVAL_STATEMENTS, ORDERS } from './approvals.ts';
import { CHANGE_STATEMENTS } from './changed-runs.ts';
import { PostgresDatabase } from './database.ts';
import { keysetText, type Order } from './keyset.ts';
import { migrate } from './migrate.ts';
import { PROJECT_STATEMENTS } from './projects.ts';
import { READ_STATEMENTS } from './reads.ts';
import { RUN_ROW_STATEMENTS } from './run-rows.ts';
import { LISTED, LISTED_BY_ID, PostgresRuns, RUN_STATEMENTS } from './runs.ts';
import { VIEW_TEXT } from './view.ts';

const server = inject('postgres') as string;
const PROJECTS = 1_000;
const RUNS = 100_000;
const LAST_SEQ = 400_000;

const instantAt = (column: string) =>
  `to_char(timestamp '2026-01-01' + ${column} * interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS".000Z"')`;

/** Many runs of many projects, six of seven in one of them, one run with many stages, and approvals in every state. */
const FILL = `
  INSERT INTO runs (project_id, run_id, status, created_at, last_seq, last_run_seq, state)
    SELECT CASE WHEN i % 7 > 0 THEN 'large' ELSE 'p' || i % ${PROJECTS} END, 'r' || i, CASE WHEN i % 100 < 2 THEN 'running' ELSE 'completed' END,
      ${instantAt('i')}, i * 4, 4, '{"name":"n","counts":{"approvalsPending":0}}'
    FROM generate_series(1, ${RUNS}) AS i;
  INSERT INTO stages (run_row, stage_id, last_seq, state)
    SELECT 1, 's' || lpad(i::text, 6, '0'), ${LAST_SEQ}, '{}' FROM generate_series(1, 10000) AS i;
  INSERT INTO stages (run_row, stage_id, last_seq, state)
    SELECT i, 's', i * 4, '{}' FROM generate_series(2, 50000) AS i;
  INSERT INTO artifacts (run_row, artifact_id, seq, last_seq, state)
    SELECT i, 'a', i * 4, i * 4, '{}' FROM generate_series(1, 50000) AS i;
  INSERT INTO approvals (run_row, approval_id, project_id, run_id, request_seq, last_seq, status, expires_at, decided_at,
      request_actor, requested_by, state)
    SELECT i, 'a', CASE WHEN i % 7 > 0 THEN 'large' ELSE 'p' || i % ${PROJECTS} END, 'r' || i, i * 4 - 1, i * 4,
      CASE WHEN i % 10 = 0 THEN 'pending' WHEN i % 10 = 1 THEN 'expired' ELSE 'granted' END,
      CASE WHEN i % 3 = 0 THEN ${instantAt('i')} END, CASE WHEN i % 10 > 0 THEN ${instantAt('i')} END,
      'actor' || i % 50, CASE WHEN i % 2 = 0 THEN 'user' || i % 500 END, '{}'
    FROM generate_series(1, 50000) AS i;
  INSERT INTO events (seq, run_row, run_seq, project_id, run_id, type, event_id, actor, recorded_at_ms, payload,
      payload_hash, prev_hash)
    SELECT i, 1 + (i % 1000 = 0)::int, 1, CASE WHEN i % 1000 > 0 THEN 'large' ELSE 'p7' END, 'r', 't', i::text, 'a', i, '{}', '', '\\x00000000'
    FROM generate_series(${LAST_SEQ - 50_000}, ${LAST_SEQ}) AS i;
  INSERT INTO event_users (user_id, seq)
    SELECT CASE WHEN i % 1000 > 0 THEN 'ann' ELSE 'bob' END, i FROM generate_series(${LAST_SEQ - 50_000}, ${LAST_SEQ}) AS i;
  INSERT INTO head (id, epoch, epoch_seq, seq, hash, recorded_at_ms, oldest, erasures)
    VALUES (1, 'e', 0, ${LAST_SEQ}, '\\x00000000', 0, 1, 0)
    ON CONFLICT (id) DO UPDATE SET seq = ${LAST_SEQ};
`;

type Plan = { 'Node Type': string; 'Relation Name'?: string; Plans?: Plan[]; [key: string]: unknown };
/** A statement, its parameters, and how many rows of tables it may read. */
type Case = { name: string; text: string; values: unknown[]; mayRead: number };

const allProjects = Array.from({ length: PROJECTS }, (_, index) => `p${index}`);

/** The statement of an order for all projects, for one, and for a thousand. */
function ofOrder(order: Order, start: { at: string; num: number }, ...values: unknown[]): Case[] {
  const take = 128;
  const of = (name: string, isOfProjects: boolean, ids: string[], each: number): Case => ({
    name: `${order.name} ${name}`,
    text: keysetText(order, isOfProjects),
    values: [ids, ids.map(() => start.at), ids.map(() => start.num), ids.map(() => each), ...values],
    // One row more shows that there is a next page. Each run may be looked up for pending approvals.
    mayRead: 2 * (ids.length * each + 1),
  });
  return [
    of('of all projects', false, [''], take),
    of('of a small project', true, ['p7'], take),
    of('of a large project', true, ['large'], take),
    of('of 1,000 projects', true, allProjects, 2),
  ];
}

const LAST = { at: '~', num: Number.MAX_SAFE_INTEGER };
const NEWEST = LAST_SEQ - 100;
const ids = Array.from({ length: 100 }, (_, index) => index + 1);
const projectIds = ids.map((id) => (id % 7 > 0 ? 'large' : `p${id}`));
const runIds = ids.map((id) => `r${id}`);

const cases: Case[] = [
  ...ofOrder(LISTED, LAST, ['completed'], true),
  ...ofOrder(LISTED, LAST, null, false),
  ...ofOrder(LISTED_BY_ID, LAST, null, false, 'r1').slice(1),
  ...ofOrder(COUNTED, LAST),
  ...[ORDERS.requested, ORDERS.open, ORDERS.decided, ORDERS.expired].flatMap((order) => ofOrder(order, LAST)),
  ...ofOrder(ORDERS.due, { at: '', num: 0 }),
  { ...(ofOrder(ORDERS.asked, LAST, 'user4')[0] as Case), mayRead: 600 },
  { name: 'events', text: READ_STATEMENTS.all, values: [0, LAST_SEQ, 64], mayRead: 128 },
  { name: 'events of a small project', text: READ_STATEMENTS.project, values: [0, LAST_SEQ, 64, 'p7'], mayRead: 128 },
  {
    name: 'events of a large project',
    text: READ_STATEMENTS.project,
    values: [0, LAST_SEQ, 64, 'large'],
    mayRead: 128,
  },
  { name: 'events of a small run', text: READ_STATEMENTS.run, values: [0, LAST_SEQ, 64, 'large', 'r2'], mayRead: 129 },
  { name: 'events of a large run', text: READ_STATEMENTS.run, values: [0, LAST_SEQ, 64, 'large', 'r1'], mayRead: 130 },
  { name: 'scan of a small run', text: READ_STATEMENTS.scan, values: [0, LAST_SEQ, 64, 'large', 'r2'], mayRead: 65 },
  { name: 'events of a user', text: READ_STATEMENTS.user, values: [0, LAST_SEQ, 64, 'bob'], mayRead: 192 },
  { name: 'open runs', text: OPEN_STATEMENTS.all, values: [100], mayRead: 100 },
  { name: 'open runs of projects', text: OPEN_STATEMENTS.ofProjects, values: [10, allProjects], mayRead: 10_000 },
  { name: 'projects', text: PROJECT_STATEMENTS.next, values: ['', 100], mayRead: 300 },
  { name: 'projects among', text: PROJECT_STATEMENTS.among, values: [allProjects, 100], mayRead: 300 },
  { name: 'running', text: PROJECT_STATEMENTS.running, values: [projectIds, 100], mayRead: 10_000 },
  { name: 'run', text: RUN_STATEMENTS.rowId, values: ['large', 'r1'], mayRead: 1 },
  { name: 'projects of a run', text: RUN_STATEMENTS.projectsOf, values: ['r1'], mayRead: 2 },
  { name: 'projects of a run among', text: RUN_STATEMENTS.projectsAmong, values: ['r1', allProjects], mayRead: 2 },
  { name: 'headers', text: RUN_STATEMENTS.headers, values: [projectIds, runIds], mayRead: 100 },
  { name: 'names', text: RUN_STATEMENTS.names, values: [projectIds, runIds], mayRead: 100 },
  { name: 'headers of rows', text: RUN_ROW_STATEMENTS.headers, values: [ids, 1 << 20], mayRead: 100 },
  { name: 'pending of runs', text: RUN_ROW_STATEMENTS.pending, values: [ids, '', 100, 1 << 18], mayRead: 100 },
  { name: 'changed', text: CHANGE_STATEMENTS.all, values: [NEWEST, 256], mayRead: 4_096 },
  { name: 'changed since the beginning', text: CHANGE_STATEMENTS.all, values: [0, 256], mayRead: 2 * 4_096 },
  { name: 'changed of one', text: CHANGE_STATEMENTS.ofProjects, values: [NEWEST, 256, ['p0']], mayRead: 100 },
  { name: 'changed of 1,000', text: CHANGE_STATEMENTS.ofProjects, values: [NEWEST, 2, allProjects], mayRead: 4_096 },
  { name: 'changed of a run', text: CHANGE_STATEMENTS.ofRuns, values: [0, 256, ['large'], 'r1'], mayRead: 1 },
  { name: 'hash prefixes', text: CHANGE_STATEMENTS.hashPrefixes, values: [ids], mayRead: 100 },
  { name: 'view', text: VIEW_TEXT, values: ['large', 'r1', '', '', '', 0, 1_000, 1 << 18], mayRead: 1_100 },
  {
    name: 'view after a stage',
    text: VIEW_TEXT,
    values: ['large', 'r1', 's009000', '', '', 0, 1_000, 1 << 18],
    mayRead: 1_100,
  },
  { name: 'approval', text: APPROVAL_STATEMENTS.one, values: ['large', 'r1', 'a'], mayRead: 3 },
  { name: 'approvals', text: APPROVAL_STATEMENTS.some, values: [ids, ids.map(() => 'a'), 1 << 20], mayRead: 200 },
  { name: 'artifacts', text: APPROVAL_STATEMENTS.artifacts, values: [ids, ids.map(() => 'a')], mayRead: 100 },
  { name: 'names of approvals', text: APPROVAL_STATEMENTS.names, values: [ids], mayRead: 100 },
  { name: 'place', text: APPROVAL_STATEMENTS.place, values: [39], mayRead: 1 },
  { name: 'expiring', text: APPROVAL_STATEMENTS.expiring, values: [100], mayRead: 200 },
  { name: 'of ended runs', text: APPROVAL_STATEMENTS.ofEndedRuns, values: [100, projectIds, runIds], mayRead: 400 },
];

describe.skipIf(server === undefined)('statements on the rows of runs in PostgreSQL', () => {
  let url: string;
  let client: Client;

  beforeAll(async () => {
    url = await createDatabase(server);
    await migrate({ connectionString: url });
    client = new Client({ connectionString: url });
    await client.connect();
    await client.query(FILL);
  });
  afterAll(async () => {
    await client.end();
    await dropDatabase(server, url);
  });

  const planOf = async ({ text, values }: Case): Promise<Plan> => {
    // As each connection runs a statement after its first five times.
    await client.query('SET plan_cache_mode = force_generic_plan');
    const name = 'statement';
    await client.query(`PREPARE ${name} AS ${text}`);
    const literals = values.map((value) => {
      if (value === null) return 'NULL';
      if (!Array.isArray(value)) return typeof value === 'number' ? String(value) : client.escapeLiteral(String(value));
      return client.escapeLiteral(`{${value.map((item) => `"${item}"`).join(',')}}`);
    });
    const { rows } = await client.query(`EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE ${name}(${literals.join(', ')})`);
    await client.query(`DEALLOCATE ${name}`);
    return rows[0]['QUERY PLAN'][0].Plan as Plan;
  };

  const nodesOf = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];

  test.each(['before the tables are analyzed', 'after'])(
    '[L60] with 100,000 runs of 1,000 projects each statement follows indexes, and reads few more rows than it returns, %s',
    async (when) => {
      if (when === 'after') await client.query('ANALYZE');
      const found: Record<string, unknown> = {};
      for (const one of cases) {
        const scans = nodesOf(await planOf(one)).filter(
          (node) => node['Relation Name'] && node['Relation Name'] !== 'head',
        );
        const sequential = scans
          .filter((node) => node['Node Type'] === 'Seq Scan')
          .map((node) => node['Relation Name']);
        const numberOf = (node: Plan, field: string) => Number(node[field] ?? 0);
        const read = scans.reduce(
          (sum, node) =>
            sum +
            (numberOf(node, 'Actual Rows') +
              numberOf(node, 'Rows Removed by Filter') +
              numberOf(node, 'Rows Removed by Index Recheck')) *
              numberOf(node, 'Actual Loops'),
          0,
        );
        if (sequential.length > 0 || read > one.mayRead) found[one.name] = { sequential, read, mayRead: one.mayRead };
      }
      expect(found).toEqual({});
    },
  );

  test('[L60] a list over 1,000 projects reads the same runs as one over all, and takes few statements', async () => {
    class Counted extends PostgresDatabase {
      statements = 0;
      override read: PostgresDatabase['read'] = (statement, caller) => {
        this.statements++;
        return PostgresDatabase.prototype.read.call(this, statement, caller) as never;
      };
    }
    const database = new Counted(url, () => undefined);
    onTestFinished(() => database.close());
    const runs = new PostgresRuns({ database, log: { head: LAST_SEQ, reached: async () => true } });
    const walk = async (projects: Projects) => {
      database.statements = 0;
      const page = await runs.list({ projects, status: ['failed'], limit: 50 });
      return { next: page.next, statements: database.statements };
    };
    const ofAll = await walk('all');
    const ofProjects = await walk([...allProjects, 'large']);
    expect(ofProjects.next).toEqual(ofAll.next);
    expect(ofAll.statements).toBeLessThan(20);
    expect(ofProjects.statements).toBeLessThan(40);
  });

  test('[L61] events of a run write no index of runs until its status, or the era of its position, changes', async () => {
    const update = async (lastSeq: number, status: string) => {
      const text = 'UPDATE runs SET last_seq = $1, last_run_seq = last_run_seq + 1, status = $2 WHERE row_id = 1';
      await client.query(text, [lastSeq, status]);
    };
    const counts = async () => {
      const text = `SELECT n_tup_upd::int AS all, n_tup_hot_upd::int AS hot FROM pg_stat_xact_user_tables
        WHERE relname = 'runs'`;
      return (await client.query(text)).rows[0];
    };
    // The first page has no room: its rows were inserted together.
    await client.query(`DELETE FROM runs WHERE row_id BETWEEN 2 AND 20`);
    await client.query('VACUUM runs');
    await client.query('BEGIN');
    for (let seq = 4_096; seq < 4_106; seq++) await update(seq, 'running');
    const first = await counts();
    await update(8_191, 'running');
    const many = await counts();
    await update(8_192, 'running');
    const nextEra = await counts();
    await update(8_193, 'completed');
    const ended = await counts();
    await client.query('ROLLBACK');
    expect({ first, many, nextEra, ended }).toEqual({
      // The first update begins an era and changes the status.
      first: { all: 10, hot: 9 },
      many: { all: 11, hot: 10 },
      nextEra: { all: 12, hot: 10 },
      ended: { all: 13, hot: 10 },
    });
  });
});
