import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { Client } from 'pg';
import { startPostgres } from '../support/postgres.ts';
import { Dice } from './random.ts';
import { bundleServer } from './server.ts';

/**
 * Crashes between the COMMIT of a program's transaction and the delivery of what it has published by `runwire_publish`.
 *
 * Writers run transactions that insert a row into a table of their own and publish drafts. In the same moment in which a
 * commit is known, something is killed: a node, the connections of the nodes, those of the writers, or PostgreSQL. A crash
 * counts if drafts of a committed transaction were waiting after it. At the end, the rows of the writers' table are
 * compared with the log: a row is there if and only if its transaction has committed, whatever its writer has seen.
 */

const WRITERS = 4;
const NODES = 2;
const DRAIN_MS = 120_000;
const faults = ['node', 'node', 'node', 'node connections', 'writer', 'PostgreSQL'] as const;
type Fault = (typeof faults)[number];

export type OutboxResult = {
  crashes: { [fault in Fault]?: number };
  transactions: { committed: number; rolledBack: number; unknown: number };
  events: number;
  /** Times until the outbox was empty after each crash; ms, sorted. */
  problems: string[];
};

export async function crashOutbox({
  crashes,
  seed,
  say = () => undefined,
}: {
  crashes: number;
  seed: number;
  say?: (line: string) => void;
}): Promise<OutboxResult> {
  using bundle = await bundleServer('tests/chaos/outbox-node.ts');
  const server = await startPostgres({ isDurable: true });
  const nodes: ChildProcess[] = [];
  const writers: Writer[] = [];
  let isEnding = false;
  try {
    const url = await server.createDatabase();
    const startNode = async (at: number): Promise<void> => {
      while (!isEnding) {
        const child = fork(bundle.path, [url], { execArgv: [], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
        nodes[at] = child;
        const [event] = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => [])]);
        if (event === 'ready') {
          child.once('exit', () => void startNode(at));
          return;
        }
        await setTimeout(200);
      }
    };
    await startNode(0); // Migrates.
    await query(url, 'CREATE TABLE orders (writer integer, n integer, events integer, PRIMARY KEY (writer, n))');
    await Promise.all(Array.from({ length: NODES - 1 }, (_, at) => startNode(at + 1)));
    const dice = new Dice(seed);
    const counts: OutboxResult['crashes'] = {};
    let count = 0;
    for (let at = 0; at < WRITERS; at++) writers.push(new Writer(url, at, dice.seed()));
    const crash = async (fault: Fault) => {
      if (fault === 'node') nodes[dice.between(0, NODES - 1)]?.kill('SIGKILL');
      else if (fault === 'PostgreSQL') {
        await server.stop('immediate');
        await server.start();
      } else {
        const which = fault === 'writer' ? `= 'writer'` : `= 'runwire'`;
        await query(url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ${which}`);
      }
    };
    /** Number of drafts in the outbox; undefined while PostgreSQL does not answer. */
    const waiting = async () => {
      const [row] = await query<{ n: string }>(url, 'SELECT count(*) AS n FROM outbox').catch(() => []);
      return row && Number(row.n);
    };
    /** Resolves once at most `rows` drafts are in the outbox. */
    const moved = async (rows: number) => {
      const until = Date.now() + DRAIN_MS;
      while (((await waiting()) ?? Infinity) > rows && Date.now() < until) await setTimeout(20);
    };
    while (count < crashes) {
      const fault = dice.chance(0.9) ? dice.pick(faults.slice(0, 5)) : 'PostgreSQL';
      const others = writers.slice(1).map((writer) => writer.transact(dice.between(1, 3)));
      const { isCommitted } = await (writers[0] as Writer).transact(1);
      await crash(fault);
      const left = await waiting();
      await Promise.all(others);
      if (!isCommitted || left === undefined || left === 0) continue;
      counts[fault] = (counts[fault] ?? 0) + 1;
      count++;
      if (count % 50 === 0)
        say(`${count} crashes, ${writers.reduce((sum, { committed }) => sum + committed, 0)} commits`);
      // Every few crashes the nodes come so far that the next crash hits another place.
      if (dice.chance(0.3)) await moved(dice.between(0, left - 1));
    }
    await moved(0);
    return { crashes: counts, ...(await compare(url, writers)) };
  } finally {
    isEnding = true;
    for (const node of nodes) node.kill('SIGKILL');
    for (const writer of writers) await writer.close();
    await server.remove();
  }
}

/** A program: one transaction after another, with a row of its own and events of a run of its own. */
class Writer {
  readonly #url: string;
  readonly #at: number;
  readonly #dice: Dice;
  #client: Client | undefined;
  #n = 0;
  committed = 0;
  rolledBack = 0;
  unknown = 0;

  constructor(url: string, at: number, seed: number) {
    this.#url = url;
    this.#at = at;
    this.#dice = new Dice(seed);
  }

  async transact(times: number): Promise<{ isCommitted: boolean }> {
    let isCommitted = false;
    for (let time = 0; time < times; time++) isCommitted = await this.#once();
    return { isCommitted };
  }

  async close(): Promise<void> {
    await this.#client?.end().catch(() => undefined);
  }

  async #once(): Promise<boolean> {
    const n = ++this.#n;
    const events = this.#dice.between(1, 5);
    const isKept = this.#dice.chance(0.7);
    let isCommitting = false;
    try {
      const client = await this.#connected();
      const drafts = Array.from({ length: events }, (_, index) => ({
        ...{ type: 'stage.progress', projectId: 'shop', runId: `writer-${this.#at}`, stageId: 's1' },
        message: `${this.#at} ${n} ${index}`,
      }));
      await client.query('BEGIN');
      await client.query('INSERT INTO orders (writer, n, events) VALUES ($1, $2, $3)', [this.#at, n, events]);
      const half = this.#dice.between(0, events);
      for (const part of [drafts.slice(0, half), drafts.slice(half)]) {
        if (part.length > 0) await client.query('SELECT runwire_publish($1::jsonb)', [JSON.stringify(part)]);
      }
      isCommitting = isKept;
      const { command } = await client.query(isKept ? 'COMMIT' : 'ROLLBACK');
      if (isKept && command === 'COMMIT') this.committed++;
      else this.rolledBack++;
      return isKept && command === 'COMMIT';
    } catch {
      if (isCommitting) this.unknown++;
      else this.rolledBack++;
      await this.close();
      this.#client = undefined;
      return false;
    }
  }

  async #connected(): Promise<Client> {
    for (let tries = 0; !this.#client; tries++) {
      const client = new Client({ connectionString: this.#url, application_name: 'writer' });
      client.on('error', () => undefined);
      try {
        await client.connect();
        this.#client = client;
      } catch (error) {
        if (tries > 300) throw error;
        await setTimeout(20);
      }
    }
    return this.#client;
  }
}

async function compare(url: string, writers: readonly Writer[]): Promise<Omit<OutboxResult, 'crashes'>> {
  const problems: string[] = [];
  const orders = await query<{ writer: number; n: number; events: number }>(
    url,
    'SELECT * FROM orders ORDER BY writer, n',
  );
  const rows = await query<{ payload: string }>(url, 'SELECT payload FROM events ORDER BY seq');
  const logged = rows.map(({ payload }) => (JSON.parse(payload) as { message: string }).message);
  for (const [table, what] of [
    ['outbox', 'left'],
    ['outbox_refused', 'refused'],
  ] as const) {
    const [row] = await query<{ n: string }>(url, `SELECT count(*) AS n FROM ${table}`);
    if (row?.n !== '0') problems.push(`${row?.n} calls or drafts are ${what}`);
  }
  for (let at = 0; at < writers.length; at++) {
    const expected = orders
      .filter(({ writer }) => writer === at)
      .flatMap(({ n, events }) => Array.from({ length: events }, (_, index) => `${at} ${n} ${index}`));
    const found = logged.filter((message) => message.startsWith(`${at} `));
    const isIn = new Set(found);
    const isExpected = new Set(expected);
    for (const message of expected) if (!isIn.has(message)) problems.push(`lost: ${message}`);
    for (const message of found) if (!isExpected.has(message)) problems.push(`of no committed transaction: ${message}`);
    if (found.length !== isIn.size) problems.push(`writer ${at}: ${found.length - isIn.size} events are logged twice`);
    else if (found.join() !== expected.join()) problems.push(`writer ${at}: the order is another one`);
  }
  const sum = (of: 'committed' | 'rolledBack' | 'unknown') => writers.reduce((total, writer) => total + writer[of], 0);
  const transactions = { committed: sum('committed'), rolledBack: sum('rolledBack'), unknown: sum('unknown') };
  return { transactions, events: logged.length, problems };
}

async function query<Row extends object>(url: string, text: string): Promise<Row[]> {
  const client = new Client({ connectionString: url, application_name: 'observer' });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}
