import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { onTestFinished } from 'vitest';
import { StoredEvent } from '../../server/event-log/contract/log.ts';
import { type Backplane, type OpenBackplane, silentBackplane } from '../../server/event-log/postgres/backplane.ts';
import { type Cluster, joinCluster } from '../../server/event-log/postgres/cluster.ts';
import { PostgresDatabase } from '../../server/event-log/postgres/database.ts';
import type { Tombstone } from '../../server/event-log/postgres/feed.ts';
import { migrate } from '../../server/event-log/postgres/migrate.ts';
import { createDatabase, dropDatabase } from './postgres.ts';

/** Nodes of one log, below the log itself: a test writes rows as a commit does, and decides what the nodes learn of it. */

export const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

/** Creates a database with an empty log, which is removed after the test. `sql`: another connection to it. */
export async function newLog(server: string): Promise<{ url: string; sql: Client }> {
  const url = await createDatabase(server);
  onTestFinished(() => dropDatabase(server, url));
  await migrate({ connectionString: url });
  const sql = new Client({ connectionString: url });
  sql.on('error', () => undefined);
  await sql.connect();
  onTestFinished(() => sql.end());
  return { url, sql };
}

export type TestNode = Cluster & {
  /** Positions that the listeners of the node got. */
  received: StoredEvent[];
  failures: { message: string; error: unknown }[];
};

/** The nodes of each log that have joined. */
const joined = new Map<string, Set<Cluster>>();

type NodeOptions = {
  backplane?: OpenBackplane;
  tombstonesAfter?: (generation: number) => Promise<Tombstone[]>;
};

/** Adds a node, which leaves after the test. The other nodes know it then. */
export async function joinNode(url: string, options: NodeOptions = {}): Promise<TestNode> {
  const { backplane = silentBackplane, tombstonesAfter = async () => [] } = options;
  const failures: TestNode['failures'] = [];
  const database = new PostgresDatabase(url, () => undefined);
  const cluster = await joinCluster({
    database,
    backplane: backplane('test'),
    secret: 'secret of the test',
    tombstonesAfter,
    renewEpoch: (query) =>
      query({
        text: `UPDATE head SET epoch = $1, epoch_seq = seq`,
        values: [randomBytes(8).toString('hex')],
      }),
    onFailure: (error, message) => failures.push({ error, message }),
  });
  const nodes = joined.get(url) ?? new Set();
  joined.set(url, nodes);
  await Promise.all([...nodes].map((node) => node.look()));
  nodes.add(cluster);
  onTestFinished(async () => {
    nodes.delete(cluster);
    await cluster.close();
    await database.close();
  });
  const received: StoredEvent[] = [];
  cluster.feed.subscribe((records) => void received.push(...records));
  return Object.assign(cluster, { received, failures });
}

/** A position is for the users `u0` to `u2` in turn; each third event is for nobody. */
export const usersAt = (seq: number): string[] => (seq % 3 === 0 ? [] : [`u${seq % 2}`, 'u2']);
export const hashPrefixOf = (hash: Buffer): string => hash.toString('hex', 0, 4);

/** Writes rows as a commit does. With a `node`, they are its own commit. */
export async function commit(sql: Client, count: number, node?: TestNode, bytes = 20): Promise<number[]> {
  await sql.query('BEGIN');
  const { rows } = await sql.query('SELECT seq, hash, erasures FROM head FOR UPDATE');
  const before = { seq: Number(rows[0].seq), hashPrefix: hashPrefixOf(rows[0].hash) };
  const seqs = upTo(count).map((n) => before.seq + n);
  const hashes = [rows[0].hash as Buffer, ...seqs.map(() => randomBytes(32))];
  const texts = seqs.map((seq) => JSON.stringify({ seq, text: 'x'.repeat(bytes) }));
  await sql.query(
    `INSERT INTO events SELECT seq, 1, seq, 'p', 'r', 'run.started', 'id' || seq, 'ci', $4, payload, null, '', decode(hash, 'hex')
     FROM unnest($1::bigint[], $2::text[], $3::text[]) AS u (seq, payload, hash)`,
    [seqs, texts, hashes.slice(0, -1).map((hash) => hash.toString('hex')), before.seq],
  );
  const users = seqs.flatMap((seq) => usersAt(seq).map((user) => ({ user, seq })));
  await sql.query('INSERT INTO event_users SELECT * FROM unnest($1::text[], $2::bigint[])', [
    users.map(({ user }) => user),
    users.map(({ seq }) => seq),
  ]);
  const last = seqs.at(-1) as number;
  const hash = hashes.at(-1) as Buffer;
  await sql.query('UPDATE head SET seq = $1, hash = $2, recorded_at_ms = $1', [last, hash]);
  await sql.query('COMMIT');
  node?.feed.committed({
    before,
    records: seqs.map(
      (seq, index) =>
        new StoredEvent({
          ...{ seq, runSeq: seq, projectId: 'p', runId: 'r', type: 'run.started', users: usersAt(seq) },
          json: texts[index] as string,
          hashPrefix: hashPrefixOf(hashes[index + 1] as Buffer),
        }),
    ),
    head: { seq: last, hashPrefix: hashPrefixOf(hash) },
    recordedAtMs: last,
    erasures: Number(rows[0].erasures),
  });
  return seqs;
}

/** Takes the end of the history away, as a fail-over to a replica that was behind does. */
export async function loseEnd(sql: Client, after: number): Promise<void> {
  await sql.query('BEGIN');
  await sql.query(
    'UPDATE head SET seq = $1, hash = coalesce((SELECT prev_hash FROM events WHERE seq = $1::bigint + 1), hash)',
    [after],
  );
  await sql.query('DELETE FROM events WHERE seq > $1', [after]);
  await sql.query('DELETE FROM event_users WHERE seq > $1', [after]);
  await sql.query('COMMIT');
}

/** Messages between nodes of one process: the test holds them back, and gives them to the nodes as it likes. */
export class HeldMessages {
  readonly messages: string[] = [];
  readonly #listeners: ((message: string) => void)[] = [];

  readonly open: OpenBackplane = (): Backplane => ({
    send: (message) => void this.messages.push(message),
    receive: (listener) => void this.#listeners.push(listener),
    isConnected: true,
    maxBytes: 1 << 20,
    close: async () => undefined,
  });

  /** Gives a message to every node. */
  give(...messages: (string | undefined)[]): void {
    for (const message of messages) for (const listener of this.#listeners) listener(message ?? '');
  }
}
