import { isStorable } from '../../../shared/issues.ts';
import type { Caller } from '../../slices.ts';
import { SLICE_MS, sliceEnd } from '../../slices.ts';
import {
  type Log,
  type Page,
  type ReadQuery,
  type ScanQuery,
  type Scope,
  type Snapshot,
  StoredEvent,
} from '../contract/log.ts';
import type { PostgresDatabase, Statement } from './database.ts';
import type { LogState } from './feed.ts';

/** The reads of events. Every statement follows an index, and has at most 4 MiB of rows. */

/** A page ends when its events have this much JSON: not much more than a socket takes at once. */
const PAGE_BYTES = 1 << 18;
/** An event has at most 64 KiB. */
const ROWS_AT_ONCE = 64;

// A row stores the hash of the row before it: the hash prefix of row n is in row n + 1.
const PREFIX = `encode(substr(n.prev_hash, 1, 4), 'hex') AS hash_prefix`;
const NEXT = 'LEFT JOIN events n ON n.seq = e.seq + 1';
const COLUMNS = `e.seq, e.run_seq, e.project_id, e.run_id, e.type, e.payload, ${PREFIX}`;
const RUN_ROW = '(SELECT row_id FROM runs WHERE project_id = $4 AND run_id = $5)';
// The project, run or user is a part of the order, which only its own index has. With `project_id = …`, PostgreSQL may
// follow the primary key instead, and read the events of all other projects, if it takes the project for one with many.
const within = (of: string, seq: string, value: string) =>
  `WHERE (${of}, ${seq}) > (${value}, $1) AND (${of}, ${seq}) <= (${value}, $2) ORDER BY ${of}, ${seq} LIMIT $3`;

// With the oldest position of the same moment: another node may remove rows at any time. Without rows, it comes alone.
const withOldest = (rows: string) =>
  `SELECT h.oldest, r.* FROM head h LEFT JOIN LATERAL (${rows}) r ON true ORDER BY r.seq`;

/** `$1`: after this position. `$2`: up to this one. `$3`: number of rows. */
export const READ_STATEMENTS = {
  all: withOldest(`SELECT ${COLUMNS} FROM events e ${NEXT} WHERE e.seq > $1 AND e.seq <= $2 ORDER BY e.seq LIMIT $3`),
  project: withOldest(`SELECT ${COLUMNS} FROM events e ${NEXT} ${within('e.project_id', 'e.seq', '$4')}`),
  run: withOldest(`SELECT ${COLUMNS} FROM events e ${NEXT} ${within('e.run_row', 'e.seq', RUN_ROW)}`),
  user: withOldest(
    `SELECT ${COLUMNS} FROM event_users u JOIN events e ON e.seq = u.seq ${NEXT} ${within('u.user_id', 'u.seq', '$4')}`,
  ),
  scan: withOldest(`SELECT e.seq, e.payload FROM events e ${within('e.run_row', 'e.seq', RUN_ROW)}`),
  seqOf: 'SELECT seq FROM events WHERE project_id = $1 AND event_id = $2',
  hashPrefixes: `SELECT n.seq - 1 AS seq, ${PREFIX} FROM events n WHERE n.seq = ANY ($1)`,
};

type ScanRow = { seq: number; payload: string };
type EventRow = {
  seq: number;
  run_seq: number;
  project_id: string;
  run_id: string;
  type: string;
  payload: string;
  /** Absent for the last row. */
  hash_prefix: string | null;
};

export class PostgresReads implements Pick<Log, 'read' | 'scan' | 'seqOf' | 'hashPrefixesAt' | 'positionBeforeTime'> {
  readonly #database: PostgresDatabase;
  readonly #state: LogState;

  constructor(database: PostgresDatabase, state: LogState) {
    this.#database = database;
    this.#state = state;
  }

  async read({ scope, after, types, limit, ...caller }: ReadQuery): Promise<Page> {
    const { head } = this.#state;
    const snapshot = this.#snapshot();
    const until = performance.now() + SLICE_MS;
    const records: StoredEvent[] = [];
    let bytes = 0;
    let scannedTo = after;
    for (;;) {
      const wanted = types ? ROWS_AT_ONCE : Math.min(ROWS_AT_ONCE, limit - records.length);
      const rows = await this.#rows<EventRow>(
        scope,
        { after: scannedTo, upTo: head.seq, limit: wanted },
        snapshot,
        caller,
      );
      for (const row of rows) {
        scannedTo = row.seq;
        if (!types || types.has(row.type)) {
          records.push(toRecord(row, row.seq === head.seq ? head.hashPrefix : undefined));
          bytes += row.payload.length;
        }
        if (records.length >= limit || bytes >= PAGE_BYTES) return { records, ...snapshot.upTo(scannedTo) };
      }
      if (rows.length < wanted) return { records, ...snapshot.upTo(Math.max(after, head.seq)) };
      if (performance.now() > until) return { records, ...snapshot.upTo(scannedTo) };
    }
  }

  async scan({ projectId, runId, after, visit, ...caller }: ScanQuery): Promise<Snapshot & { scannedTo: number }> {
    const snapshot = this.#snapshot();
    const upTo = this.#state.head.seq;
    const of = { kind: 'run', projectId, runId } as const;
    const rows = await this.#rows<ScanRow>(of, { after, upTo, limit: ROWS_AT_ONCE }, snapshot, caller, 'scan');
    const until = sliceEnd();
    try {
      for (const { seq, payload } of rows) {
        if (!visit(payload) || performance.now() > until) return snapshot.upTo(seq);
      }
    } catch (error) {
      throw this.#database.errorFor(error);
    }
    const last = rows.at(-1);
    return snapshot.upTo(rows.length === ROWS_AT_ONCE && last ? last.seq : Math.max(after, upTo));
  }

  async seqOf(projectId: string, eventId: string): Promise<number | undefined> {
    if (![projectId, eventId].every(isStorable)) return undefined;
    const values = [projectId, eventId];
    const [row] = await this.#database.read<{ seq: number }>({ name: 'seqOf', text: READ_STATEMENTS.seqOf, values });
    return row?.seq;
  }

  async hashPrefixesAt(seqs: readonly number[]): Promise<(string | undefined)[]> {
    const { head } = this.#state;
    const text = READ_STATEMENTS.hashPrefixes;
    const values = [seqs.map((seq) => seq + 1)];
    const rows = await this.#database.read<{ seq: number; hash_prefix: string }>({
      name: 'hashPrefixes',
      text,
      values,
    });
    const found = new Map(rows.map((row) => [row.seq, row.hash_prefix]));
    return seqs.map((seq) => (seq === head.seq ? head.hashPrefix : found.get(seq)));
  }

  async positionBeforeTime(recordedBeforeMs: number, caller?: Caller): Promise<number> {
    const { oldest, head } = this.#state;
    const values = [recordedBeforeMs, oldest - 1, head.seq];
    const text = 'SELECT runwire_position_before($1, $2, $3) AS seq';
    const [row] = await this.#database.read<{ seq: number }>({ name: 'positionBeforeTime', text, values }, caller);
    return row?.seq ?? oldest - 1;
  }

  /** The state of the log before a read, for its page. Each statement adds the oldest position of its moment. */
  #snapshot() {
    const { head, oldest, erasures } = this.#state;
    return {
      oldest,
      upTo(scannedTo: number): Snapshot & { scannedTo: number } {
        return { scannedTo, isExhausted: scannedTo >= head.seq, oldest: this.oldest, erasures };
      },
    };
  }

  async #rows<Row extends { seq: number }>(
    scope: Scope,
    { after, upTo, limit }: { after: number; upTo: number; limit: number },
    snapshot: { oldest: number },
    caller: Caller,
    name: keyof typeof READ_STATEMENTS = scope.kind,
  ): Promise<Row[]> {
    const ids = idsOf(scope);
    if (!ids.every(isStorable)) return [];
    const statement: Statement = { name, text: READ_STATEMENTS[name], values: [after, upTo, limit, ...ids] };
    const rows = await this.#database.read<{ oldest: number; seq: number | null }>(statement, caller);
    for (const { oldest } of rows) snapshot.oldest = Math.max(snapshot.oldest, oldest);
    return rows.filter(({ seq }) => seq !== null) as unknown as Row[];
  }
}

function idsOf(scope: Scope): string[] {
  switch (scope.kind) {
    case 'all':
      return [];
    case 'project':
      return [scope.projectId];
    case 'run':
      return [scope.projectId, scope.runId];
    case 'user':
      return [scope.userId];
  }
}

const toRecord = (row: EventRow, headPrefix: string | undefined): StoredEvent =>
  new StoredEvent({
    seq: row.seq,
    runSeq: row.run_seq,
    projectId: row.project_id,
    runId: row.run_id,
    type: row.type,
    json: row.payload,
    hashPrefix: row.hash_prefix ?? headPrefix,
  });
