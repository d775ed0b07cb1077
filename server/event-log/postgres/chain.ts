import pg from 'pg';
import type { Verdict } from '../../../shared/audit.ts';
import { RunwireError } from '../../../shared/errors.ts';
import type { Trimming } from '../integrity/attestation.ts';
import {
  type ChainOptions,
  type ChainReads,
  type Link,
  type StoredRow,
  verifyChain,
  verifyStepAsync,
} from '../integrity/chain.ts';
import type { PostgresDatabase, Query } from './database.ts';
import { CHAINED_COLUMNS } from './head.ts';

/** A page of rows ends after this much text. */
const PAGE_BYTES = 512 * 1024;

/** Each subquery finds one row by a key: a join could read a whole table instead. */
const ROWS = `SELECT ${CHAINED_COLUMNS}, e.payload, coalesce(e.salt, '') AS salt,
    (SELECT x.erasure FROM erasures x WHERE x.seq = e.seq) AS erasure,
    (SELECT c.checkpoint FROM checkpoints c WHERE c.seq = e.seq) AS checkpoint,
    (SELECT k.repair FROM clock_repairs k WHERE k.seq = e.seq) AS repair
  FROM (SELECT *, sum(octet_length(payload)) OVER (ORDER BY seq) - octet_length(payload) AS bytes_before
    FROM (SELECT * FROM events WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3) e) e
  WHERE bytes_before < ${PAGE_BYTES} ORDER BY e.seq`;

type Row = Omit<StoredRow, 'erasure' | 'checkpoint' | 'repair'> &
  Record<'erasure' | 'checkpoint' | 'repair', string | null>;

/** The reads of a verification, inside one snapshot. Another program may have written the rows. */
export class PostgresChain implements ChainReads<true> {
  readonly epoch: string;
  readonly rowsAtOnce = 256;
  /** Whether a statement has failed: the transaction then refuses all others. */
  hasFailed = false;
  readonly #query: Query;

  constructor(query: Query, epoch: string) {
    this.epoch = epoch;
    this.#query = (statement) =>
      query<never>(statement).catch((error: unknown) => {
        this.hasFailed = true;
        throw error;
      });
  }

  async head(): Promise<Link | undefined> {
    const [row] = await this.#query<Link>({ text: 'SELECT seq, hash FROM head' });
    return row && Number.isSafeInteger(row.seq) ? row : undefined;
  }

  async trimming(): Promise<Trimming | undefined> {
    const [row] = await this.#query<{ value: string }>({ text: `SELECT value FROM meta WHERE key = 'trimming'` });
    try {
      return row && (JSON.parse(row.value) as Trimming);
    } catch {
      return {} as Trimming; // Verification refuses a record without a valid signature.
    }
  }

  async extent(): Promise<{ first: number; last: number } | undefined> {
    const text = 'SELECT (SELECT min(seq) FROM events) AS first, (SELECT max(seq) FROM events) AS last';
    const [row] = await this.#query<{ first: number | null; last: number | null }>({ text });
    return row && row.first !== null && row.last !== null ? { first: row.first, last: row.last } : undefined;
  }

  async rows(after: number, upTo: number, count: number): Promise<StoredRow[]> {
    const rows = await this.#query<Row>({ text: ROWS, values: [after, upTo, count] });
    return rows.map(({ erasure, checkpoint, repair, ...row }) => ({
      ...row,
      ...(erasure === null ? {} : { erasure }),
      ...(checkpoint === null ? {} : { checkpoint }),
      ...(repair === null ? {} : { repair }),
    }));
  }

  async prevHash(seq: number): Promise<Uint8Array | undefined> {
    const text = 'SELECT prev_hash AS hash FROM events WHERE seq = $1';
    const [row] = await this.#query<{ hash: Buffer }>({ text, values: [seq] });
    return row?.hash;
  }

  async firstWithPrevHash(hash: Uint8Array, from: number, upTo: number): Promise<number | undefined> {
    const text = 'SELECT seq FROM events WHERE prev_hash = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq LIMIT 1';
    const [row] = await this.#query<{ seq: number }>({ text, values: [hash, from, upTo] });
    return row?.seq;
  }

  async hasSignedAfter(seq: number): Promise<boolean> {
    const text = `SELECT EXISTS (SELECT FROM erasures WHERE seq > $1)
      OR EXISTS (SELECT FROM checkpoints WHERE seq > $1) AS found`;
    const [row] = await this.#query<{ found: boolean }>({ text, values: [seq] });
    return row?.found === true;
  }

  isDamage(error: unknown): boolean {
    return error instanceof pg.DatabaseError && ['XX001', 'XX002'].includes(error.code ?? '');
  }
}

/** Verifies the log of a database, one snapshot a step. `epoch`: the epoch of signed records. */
export async function verifyPostgres(
  database: PostgresDatabase,
  epoch: string,
  { signal, ...options }: ChainOptions & { signal?: AbortSignal | undefined },
): Promise<Verdict> {
  const verifying = verifyChain(options);
  const ended = new RunwireError('INTERNAL', 'a part of the log is damaged');
  for (;;) {
    signal?.throwIfAborted();
    let verdict: Verdict | undefined;
    try {
      await database.snapshot(async (query) => {
        const chain = new PostgresChain(query, epoch);
        verdict = await verifyStepAsync(verifying, chain);
        if (chain.hasFailed) throw ended; // The next step has a transaction of its own.
      });
    } catch (error) {
      if (error !== ended) throw error;
    }
    if (verdict) return verdict;
  }
}
