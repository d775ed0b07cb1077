import { isStorable } from '../../../shared/issues.ts';
import type { ApprovalStatus, Artifact } from '../../../shared/run.ts';
import type { Caller } from '../../slices.ts';
import { PAGE_BYTES } from '../bounds.ts';
import type {
  ApprovalPage,
  ApprovalQuery,
  ApprovalStore,
  ApprovalWithEvidence,
  RunKey,
  StoredApproval,
} from '../contract/approvals.ts';
import { cannotDecide } from '../decidable.ts';
import type { PostgresDatabase, Query } from './database.ts';
import { type Key, Keyset, type Order, type Visitor } from './keyset.ts';
import { approvalOf, artifactOf } from './rows.ts';
import { rowsRead, STATEMENT_BYTES } from './run-rows.ts';

/** Artifacts that one statement reads at most: the largest have a few KiB. */
const ROWS_AT_ONCE = 128;
/** Approvals that one statement reads at most, besides {@link STATEMENT_BYTES}. */
const APPROVALS_AT_ONCE = 256;

const order = (name: string, where: string, at?: string, isAscending = false): Order => ({
  ...{ name, table: 'approvals', where, num: 'request_seq', isAscending },
  ...(at === undefined ? {} : { at }),
  columns: 'run_row, approval_id, project_id, run_id, status',
});

/** Each order of {@link ApprovalQuery}; `open` is `requested` for the pending ones. */
export const ORDERS = {
  requested: order('requestedApprovals', 'true'),
  open: order('openApprovals', `status = 'pending'`),
  due: order('dueApprovals', `status = 'pending'`, `coalesce(expires_at, '~')`, true),
  decided: order('decidedApprovals', `status IN ('granted', 'denied')`, 'decided_at'),
  expired: order('expiredApprovals', `status = 'expired'`, 'decided_at'),
  // $5: the user. At most twice the rows of a page are sorted.
  asked: {
    ...order('askedApprovals', 'true'),
    table: `(
      SELECT * FROM (SELECT request_seq, run_row, approval_id, project_id, run_id, status FROM approvals
        WHERE request_actor = $5 AND request_seq < s.num ORDER BY request_seq DESC LIMIT s.take) a
      UNION ALL
      SELECT * FROM (SELECT request_seq, run_row, approval_id, project_id, run_id, status FROM approvals
        WHERE requested_by = $5 AND request_actor IS DISTINCT FROM $5 AND request_seq < s.num
        ORDER BY request_seq DESC LIMIT s.take) b
    ) u`,
  },
} satisfies Record<string, Order>;

/** The places before all others: upwards, and downwards. */
const FIRST: Key = { at: '', num: 0 };
const LAST: Key = { at: '~', num: Number.MAX_SAFE_INTEGER };

const COLUMNS = `a.project_id, a.run_id, a.run_row, a.request_seq, a.state, r.status`;
const RUN = 'LEFT JOIN LATERAL (SELECT status FROM runs WHERE row_id = a.run_row LIMIT 1) r ON true';

export const APPROVAL_STATEMENTS = {
  one: `SELECT ${COLUMNS} FROM runs o JOIN approvals a ON a.run_row = o.row_id AND a.approval_id = $3 ${RUN}
    WHERE o.project_id = $1 AND o.run_id = $2`,
  // The bytes are added up in the order of the ids: the rows after the bound are not sent.
  some: `SELECT * FROM (
      SELECT i.n, ${COLUMNS},
        sum(octet_length(a.state)) OVER (ORDER BY i.n ROWS UNBOUNDED PRECEDING) - octet_length(a.state) AS bytes
      FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS i (run_row, approval_id, n)
      CROSS JOIN LATERAL (SELECT * FROM approvals WHERE run_row = i.run_row AND approval_id = i.approval_id LIMIT 1) a
      ${RUN}
    ) t WHERE t.bytes < $3 ORDER BY t.n`,
  artifacts: `SELECT i.n, a.seq, a.state FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS i (run_row, artifact_id, n)
    CROSS JOIN LATERAL (
      SELECT seq, state FROM artifacts WHERE run_row = i.run_row AND artifact_id = i.artifact_id LIMIT 1
    ) a`,
  names: `SELECT i.n, r.name FROM unnest($1::bigint[]) WITH ORDINALITY AS i (run_row, n)
    CROSS JOIN LATERAL (SELECT state::json ->> 'name' AS name FROM runs WHERE row_id = i.run_row LIMIT 1) r`,
  place: `SELECT coalesce(expires_at, '~') AS due_at, decided_at FROM approvals WHERE request_seq + 0 = $1 LIMIT 1`,
  expiring: `SELECT ${COLUMNS} FROM (
      SELECT * FROM approvals WHERE status = 'pending' AND coalesce(expires_at, '~') || '' < '~'
      ORDER BY coalesce(expires_at, '~') || '', request_seq LIMIT $1
    ) a ${RUN} ORDER BY a.expires_at, a.request_seq`,
  ofEndedRuns: `SELECT ${COLUMNS} FROM unnest($2::text[], $3::text[]) AS i (project_id, run_id)
    CROSS JOIN LATERAL (
      SELECT row_id FROM runs
      WHERE project_id = i.project_id AND run_id = i.run_id AND status IN ('completed', 'failed') LIMIT 1
    ) o
    CROSS JOIN LATERAL (SELECT * FROM approvals WHERE run_row = o.row_id AND status = 'pending' LIMIT $1) a ${RUN} LIMIT $1`,
};

type ListedKey = Key & {
  run_row: number;
  approval_id: string;
  project_id: string;
  run_id: string;
  status: ApprovalStatus;
};
type ApprovalRow = {
  n: number;
  project_id: string;
  run_id: string;
  run_row: number;
  request_seq: number;
  state: string;
  /** Of the run; null if retention has removed it. */
  status: string | null;
};
type Found = { approval: ApprovalWithEvidence; bytes: number };

export class PostgresApprovals implements ApprovalStore {
  readonly #database: PostgresDatabase;

  constructor(database: PostgresDatabase) {
    this.#database = database;
  }

  async get(
    projectId: string,
    runId: string,
    approvalId: string,
    caller?: Caller,
  ): Promise<ApprovalWithEvidence | undefined> {
    if (![projectId, runId, approvalId].every(isStorable)) return undefined;
    return this.#database.snapshot(async (query) => {
      const values = [projectId, runId, approvalId];
      const rows = await query<ApprovalRow>({ name: 'approval', text: APPROVAL_STATEMENTS.one, values });
      const [found] = await withEvidence(query, rows);
      return found?.approval;
    }, caller);
  }

  async list(query: ApprovalQuery): Promise<ApprovalPage> {
    const approvals: ApprovalWithEvidence[] = [];
    let bytes = 0;
    const { limit } = query;
    const next = await this.#walk<Found>(query, {
      isFull: () => approvals.length >= limit || bytes >= PAGE_BYTES,
      // If most rows match, not many more are read than the page needs.
      read: (keys) =>
        this.#database.snapshot(async (read) => {
          const { rows, passed } = await readRows(read, keys.slice(0, Math.max(limit, 16)));
          const found = rows.filter((row) => isListed(row, query));
          const whole = await withEvidence(read, found);
          // The rows after the last one with its artifacts are read later.
          const cut = found[whole.length];
          const values = new Map<number, Found | undefined>();
          for (const { num } of cut
            ? passed.slice(
                0,
                passed.findIndex(({ num }) => num === cut.request_seq),
              )
            : passed) {
            values.set(num, undefined);
          }
          for (const one of whole) values.set(one.approval.approval.order.seq, one);
          return values;
        }, query),
      take: (one) => {
        approvals.push(one.approval);
        bytes += one.bytes;
      },
    });
    return next === undefined ? { approvals } : { approvals, next };
  }

  async count(query: Omit<ApprovalQuery, 'after'>): Promise<number> {
    let count = 0;
    await this.#walk<true>(query, {
      isFull: () => count >= query.limit,
      read: async (keys) => {
        // The keys are enough without a decider.
        if (!query.decider) return new Map(keys.map(({ num }) => [num, true]));
        const { rows, passed } = await readRows((statement) => this.#database.read(statement, query), keys);
        const found = new Set(rows.filter((row) => isListed(row, query)).map((row) => row.request_seq));
        return new Map(passed.map(({ num }) => [num, found.has(num) || undefined]));
      },
      take: () => count++,
    });
    return count;
  }

  async pending(of: { endedRuns: readonly RunKey[] } | 'expiring', limit: number): Promise<StoredApproval[]> {
    if (of === 'expiring') {
      const rows = await this.#database.read<ApprovalRow>({
        name: 'expiring',
        text: APPROVAL_STATEMENTS.expiring,
        values: [limit],
      });
      return rows.map(toApproval);
    }
    const runs = of.endedRuns.filter(({ projectId, runId }) => isStorable(projectId) && isStorable(runId));
    const rows = await this.#database.read<ApprovalRow>({
      name: 'pendingOfEndedRuns',
      text: APPROVAL_STATEMENTS.ofEndedRuns,
      values: [limit, runs.map(({ projectId }) => projectId), runs.map(({ runId }) => runId)],
    });
    return rows.map(toApproval);
  }

  /** Walks over the approvals of a query. Returns the place of the last one that it has passed; undefined at the end. */
  async #walk<Value>(
    query: ApprovalQuery,
    visitor: Pick<Visitor<ListedKey, Value>, 'isFull' | 'read' | 'take'>,
  ): Promise<number | undefined> {
    const { order = 'requested', status, after, projects, runId, ...caller } = query;
    const askedBy = typeof order === 'object' ? order.askedBy : undefined;
    if (askedBy !== undefined && !isStorable(askedBy)) return undefined;
    const isOpen = status?.every((wanted) => wanted === 'pending') ?? false;
    const name = typeof order === 'object' ? 'asked' : order === 'requested' && isOpen ? 'open' : order;
    const wanted = projects === 'all' ? undefined : new Set(projects);
    const keys = new Keyset<ListedKey>({
      ...{ database: this.#database, order: ORDERS[name], caller },
      // An index of the user's own requests is narrow enough.
      projects: projects === 'all' || askedBy !== undefined ? 'all' : projects.filter(isStorable),
      start: after === undefined ? (name === 'due' ? FIRST : LAST) : await this.#placeOf(after, name, caller),
      values: askedBy === undefined ? [] : [askedBy],
      firstRows: ROWS_AT_ONCE,
    });
    const isListed = (key: ListedKey) =>
      (wanted?.has(key.project_id) ?? true) &&
      (runId === undefined || key.run_id === runId) &&
      (status?.includes(key.status) ?? true);
    return (await keys.walk({ ...visitor, isListed }))?.num;
  }

  /** The place of a request in an order. In the orders by position, also a position of another event is a place. */
  async #placeOf(seq: number, name: keyof typeof ORDERS, caller: Caller): Promise<Key> {
    if (ORDERS[name].at === undefined) return { at: '', num: seq };
    const [row] = await this.#database.read<{ due_at: string; decided_at: string | null }>(
      { name: 'placeOfApproval', text: APPROVAL_STATEMENTS.place, values: [seq] },
      caller,
    );
    return { at: (name === 'due' ? (row?.due_at ?? '~') : row?.decided_at) ?? '', num: seq };
  }
}

/** Whether an approval is listed, in the state in which it was read: it may have been decided since its key was read. */
function isListed(row: ApprovalRow, { order, status, decider }: ApprovalQuery): boolean {
  const stored = toApproval(row);
  const { approval } = stored;
  const isOfOrder = order !== 'due' || approval.status === 'pending';
  return isOfOrder && (status?.includes(approval.status) ?? true) && !(decider && cannotDecide(decider, stored));
}

/** Reads the first of these rows, up to about {@link STATEMENT_BYTES}. `passed`: the keys of which rows were read or are gone. */
async function readRows(query: Query, keys: readonly ListedKey[]) {
  const some = keys.slice(0, APPROVALS_AT_ONCE);
  const values = [some.map((key) => key.run_row), some.map((key) => key.approval_id), STATEMENT_BYTES];
  const rows = await query<ApprovalRow>({ name: 'approvals', text: APPROVAL_STATEMENTS.some, values });
  return { rows, passed: some.slice(0, rowsRead(rows, some.length)) };
}

/** Adds the name of the run and the artifacts to the first of these approvals, up to about {@link PAGE_BYTES}. */
async function withEvidence(query: Query, rows: readonly ApprovalRow[]): Promise<Found[]> {
  const found: Found[] = [];
  if (rows.length === 0) return found;
  const values = [rows.map((row) => row.run_row)];
  const named = await query<{ n: number; name: string }>({
    name: 'namesOfApprovals',
    text: APPROVAL_STATEMENTS.names,
    values,
  });
  const names = new Map(named.map(({ n, name }) => [n, name]));
  let bytes = 0;
  while (found.length < rows.length && bytes < PAGE_BYTES) {
    const some: { row: ApprovalRow; stored: StoredApproval; evidence: string[] }[] = [];
    let ids = 0;
    for (const row of rows.slice(found.length)) {
      const stored = toApproval(row);
      const evidence = [...new Set(stored.approval.evidence)];
      if (some.length > 0 && ids + evidence.length > ROWS_AT_ONCE) break;
      ids += evidence.length;
      some.push({ row, stored, evidence });
    }
    const artifacts = ids === 0 ? [] : await readArtifacts(query, some);
    let at = 0;
    for (const { row, stored, evidence } of some) {
      const ofOne = artifacts.slice(at, at + evidence.length).filter((artifact) => artifact !== undefined);
      at += evidence.length;
      const size = ofOne.reduce((sum, artifact) => sum + artifact.bytes, row.state.length);
      const runName = names.get(found.length + 1) ?? row.run_id;
      found.push({ approval: { ...stored, artifacts: ofOne.map(({ artifact }) => artifact), runName }, bytes: size });
      bytes += size;
    }
  }
  return found;
}

/** Reads the artifacts that approvals name, in order; undefined for one that the run does not have. */
async function readArtifacts(
  query: Query,
  of: readonly { row: ApprovalRow; evidence: readonly string[] }[],
): Promise<({ artifact: Artifact; bytes: number } | undefined)[]> {
  const ids = of.flatMap(({ evidence }) => evidence);
  const runRows = of.flatMap(({ row, evidence }) => evidence.map(() => row.run_row));
  const values = [runRows, ids];
  const rows = await query<{ n: number; seq: number; state: string }>({
    name: 'artifactsOfApprovals',
    text: APPROVAL_STATEMENTS.artifacts,
    values,
  });
  const found = new Map(rows.map((row) => [row.n, { artifact: artifactOf(row), bytes: row.state.length }]));
  return ids.map((_, index) => found.get(index + 1));
}

function toApproval(row: ApprovalRow): StoredApproval {
  return {
    projectId: row.project_id,
    runId: row.run_id,
    // A run is removed once it has ended.
    isRunOver: row.status === null || row.status === 'completed' || row.status === 'failed',
    approval: approvalOf(row),
  };
}
