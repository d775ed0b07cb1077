import type { Checkpoint, ClockRepair, Erasure, Verdict } from '../../../shared/audit.ts';
import type { EraseRequest, ErasuresQuery, Integrity, VerifyOptions } from '../contract/integrity.ts';
import { StoredEvent } from '../contract/log.ts';
import { attest, checkpointAt, isAttested, renewalOf } from '../integrity/attestation.ts';
import type { AuditKeys } from '../integrity/keys.ts';
import { verifyPostgres } from './chain.ts';
import type { ClockOf } from './clock.ts';
import type { Cluster } from './cluster.ts';
import { lockHead, type PostgresDatabase, type Query } from './database.ts';
import type { Tombstone } from './feed.ts';
import { readHead } from './head.ts';

/** Signed records of a log in PostgreSQL: checkpoints, epochs, repairs of the clock, erasures. All nodes sign with one key. */

const LAST_CHECKPOINT = 'SELECT checkpoint FROM checkpoints ORDER BY seq DESC LIMIT 1';
/** Of two nodes that sign the same position, one stores its checkpoint, and the other one returns that one. */
const PUT_CHECKPOINT = `INSERT INTO checkpoints AS c (seq, epoch, checkpoint) VALUES ($1, $2, $3)
  ON CONFLICT (seq) DO UPDATE SET epoch = excluded.epoch, checkpoint = excluded.checkpoint
  WHERE c.epoch <> excluded.epoch RETURNING 1`;
const TOMBSTONES = `SELECT x.generation, e.seq, e.run_seq AS "runSeq", e.project_id AS "projectId", e.run_id AS "runId",
    e.type, e.payload AS json, ARRAY(SELECT user_id FROM event_users u WHERE u.seq = e.seq ORDER BY user_id) AS users,
    encode(substr(coalesce((SELECT n.prev_hash FROM events n WHERE n.seq = e.seq + 1),
      (SELECT h.hash FROM head h WHERE h.seq = e.seq)), 1, 4), 'hex') AS "hashPrefix"
  FROM (SELECT * FROM erasures WHERE generation > $1 ORDER BY generation LIMIT 100) x JOIN events e ON e.seq = x.seq
  ORDER BY x.generation`;
const PUT_REPAIR = `INSERT INTO clock_repairs (seq, at_ms, repair) VALUES ($1, $2, $3)
  ON CONFLICT (seq) DO UPDATE SET at_ms = excluded.at_ms, repair = excluded.repair`;

/** The signed records of the log: what signs them. */
export type Signing = { keys: AuditKeys /** Epoch of signed records. */; id: string; clock: ClockOf };

/** Gives the log a new epoch, in a transaction that has locked the head. */
export async function renewEpochIn(query: Query, reason: string, { keys, clock }: Signing): Promise<string> {
  const { epoch: before, seq } = await readHead(query);
  const renewal = renewalOf(before, seq, reason, { keys, nowMs: await clock(query) });
  await query({ text: 'UPDATE head SET epoch = $1, epoch_seq = seq', values: [renewal.epoch] });
  const values = [`renewal ${renewal.at} ${renewal.epoch}`, JSON.stringify(renewal)];
  await query({ text: 'INSERT INTO meta (key, value) VALUES ($1, $2)', values });
  return renewal.epoch;
}

/** Returns the next erasures after a number, with their tombstones. Those of trimmed events are left out. */
export async function tombstonesAfter(database: PostgresDatabase, generation: number): Promise<Tombstone[]> {
  type Row = ConstructorParameters<typeof StoredEvent>[0] & { generation: number };
  const rows = await database.read<Row>({ text: TOMBSTONES, values: [generation] });
  return rows.map(({ generation, ...fields }) => ({ generation, record: new StoredEvent(fields) }));
}

export interface ErasureStore {
  /** Erases an event. `generation`: number of the erasure. Throws `EVENT_NOT_FOUND`. */
  erase(request: EraseRequest): Promise<{ erasure: Erasure; generation: number }>;
  /** Removes what the storage still has of erased rows, as far as it can. */
  clean(): Promise<void>;
}

type Parts = Signing & {
  database: PostgresDatabase;
  cluster: Pick<Cluster, 'log' | 'feed' | 'look' | 'changed' | 'confirmed'>;
  erasure: ErasureStore;
  /** Sets the times of access entries that are after an instant to this instant. */
  capAccessTimes: (ms: number) => Promise<void>;
};

export class PostgresIntegrity implements Integrity {
  readonly publicKey: string;
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.publicKey = parts.keys.publicKey;
    this.#parts = parts;
  }

  verify({ checkpoints, signal }: VerifyOptions = {}): Promise<Verdict> {
    const { database, id, keys } = this.#parts;
    return verifyPostgres(database, id, { keys, checkpoints, signal });
  }

  async checkpoint(): Promise<{ checkpoint: Checkpoint; isNew: boolean }> {
    const { database, keys, clock } = this.#parts;
    return database.write(async (query) => {
      const head = await readHead(query);
      const log = { epoch: head.epoch, oldest: head.oldest, keys, nowMs: await clock(query) };
      const taken = checkpointAt(await lastCheckpoint(query), head, log);
      if (!taken.isNew) return taken;
      const values = [head.seq, head.epoch, JSON.stringify(taken.checkpoint)];
      const stored = await query({ text: PUT_CHECKPOINT, values });
      if (stored.length > 0) return taken;
      const text = 'SELECT checkpoint FROM checkpoints WHERE seq = $1';
      const [other] = await query<{ checkpoint: string }>({ text, values: [head.seq] });
      return other ? { checkpoint: JSON.parse(other.checkpoint) as Checkpoint, isNew: false } : taken;
    });
  }

  signed(): Promise<{ checkpoint: Checkpoint | undefined; erasures: number }> {
    return this.#parts.database.snapshot(async (query) => {
      const [row] = await query<{ count: number }>({ text: 'SELECT count(*) AS count FROM erasures' });
      return { checkpoint: await lastCheckpoint(query), erasures: row?.count ?? 0 };
    });
  }

  async compare(checkpoint: Checkpoint): Promise<'held' | 'lost' | 'foreign'> {
    const { database, keys } = this.#parts;
    return database.snapshot(async (query) => {
      const head = await readHead(query);
      const { epoch, seq, hash } = checkpoint;
      if (epoch !== head.epoch || !isAttested(keys, 'checkpoint', checkpoint)) return 'foreign';
      if (seq < head.oldest - 1) return 'held';
      const text = 'SELECT prev_hash AS hash FROM events WHERE seq = $1';
      const [next] = seq === head.seq ? [head] : await query<{ hash: Buffer }>({ text, values: [seq + 1] });
      return next?.hash.toString('hex') === hash ? 'held' : 'lost';
    });
  }

  async renewEpoch(reason: string): Promise<string> {
    const { database, cluster } = this.#parts;
    const known = cluster.log.epoch;
    const epoch = await database.write(async (query) => {
      await lockHead(query);
      const { epoch } = await readHead(query);
      // Another node may have renewed it.
      return epoch === known ? renewEpochIn(query, reason, this.#parts) : epoch;
    });
    cluster.changed();
    await cluster.look();
    return epoch;
  }

  async erase(request: EraseRequest): Promise<Erasure> {
    const { cluster, erasure: store } = this.#parts;
    const { erasure, generation } = await store.erase(request);
    cluster.changed();
    // Also after an erasure of before: its nodes may not have confirmed it yet.
    await Promise.all([cluster.confirmed(generation), store.clean()]);
    return erasure;
  }

  async erasuresOf({
    projectId,
    runId,
    after,
    limit,
    ...caller
  }: ErasuresQuery): Promise<{ erasures: Erasure[]; next?: number }> {
    const rows = await this.#parts.database.read<{ seq: number; erasure: string }>(
      { text: 'SELECT seq, erasure FROM erasures WHERE seq > $1 ORDER BY seq LIMIT $2', values: [after, limit] },
      caller,
    );
    const all = rows.map((row) => JSON.parse(row.erasure) as Erasure);
    const erasures = all.filter((erasure) => erasure.projectId === projectId && erasure.runId === runId);
    const last = rows.at(-1)?.seq;
    return rows.length < limit || last === undefined ? { erasures } : { erasures, next: last };
  }

  async repairClock({ by }: { by: string }): Promise<ClockRepair | undefined> {
    const { database, cluster, keys, id, clock, capAccessTimes } = this.#parts;
    const { repair, atMs } = await database.write(async (query) => {
      await lockHead(query);
      const { seq, recordedAtMs } = await readHead(query);
      const atMs = await clock(query);
      if (recordedAtMs <= atMs) return { repair: undefined, atMs };
      const [from, at] = [new Date(recordedAtMs).toISOString(), new Date(atMs).toISOString()];
      const repair = attest(keys, 'clock', { epoch: id, seq, from, at, by });
      await query({ text: PUT_REPAIR, values: [seq, atMs, JSON.stringify(repair)] });
      await query({ text: 'UPDATE head SET recorded_at_ms = $1', values: [atMs] });
      return { repair, atMs };
    });
    await capAccessTimes(atMs);
    cluster.changed();
    await cluster.look();
    return repair;
  }

  onErased(listener: (record: StoredEvent) => void): () => void {
    return this.#parts.cluster.feed.onErased(listener);
  }
}

async function lastCheckpoint(query: Query): Promise<Checkpoint | undefined> {
  const [row] = await query<{ checkpoint: string }>({ text: LAST_CHECKPOINT });
  return row && (JSON.parse(row.checkpoint) as Checkpoint);
}
