import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import { Turns } from '../../slices.ts';
import { matching, one, searchAll, seqs, T0, upTo, VOCABULARY } from '../conformance/kit.ts';
import { StoredEvent } from '../contract/log.ts';
import type { Nodes } from '../contract/nodes.ts';
import type { SearchQuery } from '../contract/search.ts';
import type { EventLog } from '../contract/store.ts';
import { BlockSearch } from '../search/search.ts';
import { inTurns } from '../steps.ts';
import { PostgresDatabase, type Query } from './database.ts';
import { migrate } from './migrate.ts';
import { searchReads } from './search.ts';
import { PostgresSearchIndex } from './search-index.ts';

/** Tests of the feeder and of the tables of the index, with nodes that get and lose their leases from the test. */

const server = inject('postgres') as string;

/** The leases of a node, which the test gives and takes. */
function leaseOf(): { nodes: Pick<Nodes, 'lease'>; hold: () => void; lose: () => void } {
  let change: (isHeld: boolean) => void = () => undefined;
  let isHeld = false;
  const set = (value: boolean) => {
    isHeld = value;
    change(value);
  };
  const lease: Nodes['lease'] = (_name, onChange) => {
    change = onChange;
    return {
      get isHeld() {
        return isHeld;
      },
      release: async () => {
        isHeld = false;
      },
    };
  };
  return { nodes: { lease }, hold: () => set(true), lose: () => set(false) };
}

type Node = ReturnType<typeof leaseOf> & {
  index: PostgresSearchIndex;
  log: Pick<EventLog, 'search'>;
  database: PostgresDatabase;
};

class Place {
  readonly url: string;
  readonly database: PostgresDatabase;
  head = 0;
  readonly records: StoredEvent[] = [];
  readonly #nodes: Node[] = [];

  constructor(url: string) {
    this.url = url;
    this.database = new PostgresDatabase(url, () => undefined);
  }

  static async make(): Promise<Place> {
    const url = await createDatabase(server);
    const place = new Place(url);
    onTestFinished(async () => {
      await place.close();
      await dropDatabase(server, url);
    });
    await migrate(place.database.options);
    return place;
  }

  node(): Node {
    const database = new PostgresDatabase(this.url, () => undefined);
    const task = leaseOf();
    const head = () => this.head;
    const index = new PostgresSearchIndex({ database, nodes: task.nodes, head });
    const search = new BlockSearch({
      reads: searchReads(database),
      index,
      run: inTurns(new Turns()),
      head,
      oldest: () => this.records[0]?.seq ?? 1,
      positionBeforeTime: (ms) =>
        this.records.findLast(({ event }) => Date.parse((event as { recordedAt: string }).recordedAt) < ms)?.seq ?? 0,
    });
    const node = { ...task, index, database, log: { search } as never };
    this.#nodes.push(node);
    return node;
  }

  /** Logs events as a commit does, and gives them to the nodes. */
  async log(
    events: readonly {
      projectId?: string;
      runId?: string;
      type?: string;
      actor?: string;
      message: string;
      atMs?: number;
    }[],
  ) {
    for (let from = 0; from < events.length; from += 500) {
      const rows = events.slice(from, from + 500).map((event) => {
        this.head++;
        const { projectId = 'p', runId = 'r', type = 'stage.progress', actor = 'ci', message, atMs = T0 } = event;
        const recordedAt = new Date(atMs).toISOString();
        const payload = JSON.stringify({ type, projectId, runId, actor, recordedAt, seq: this.head, message });
        this.records.push(new StoredEvent({ seq: this.head, runSeq: 1, projectId, runId, type, json: payload }));
        return { seq: this.head, projectId, runId, type, actor, atMs, payload };
      });
      await this.database.write(async (query) => {
        const column = (key: keyof (typeof rows)[0]) => rows.map((row) => row[key]);
        await query({
          text: `INSERT INTO runs (project_id, run_id, status, created_at, last_seq, last_run_seq, state)
            SELECT DISTINCT p, r, 'running', '', 0, 0, '' FROM unnest($1::text[], $2::text[]) AS e (p, r)
            ON CONFLICT DO NOTHING`,
          values: [column('projectId'), column('runId')],
        });
        await query({
          text: `INSERT INTO events (seq, run_row, run_seq, project_id, run_id, type, event_id, actor, recorded_at_ms, payload,
              salt, payload_hash, prev_hash)
            SELECT e.seq, r.row_id, 1, e.p, e.r, e.type, e.seq, e.actor, e.at, e.payload, 'salt', '', ''
            FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[])
              AS e (seq, p, r, type, actor, at, payload) JOIN runs r ON r.project_id = e.p AND r.run_id = e.r`,
          values: [
            column('seq'),
            column('projectId'),
            column('runId'),
            column('type'),
            column('actor'),
            column('atMs'),
            column('payload'),
          ],
        });
      });
    }
    const added = this.records.slice(-events.length);
    for (const { index } of this.#nodes) index.add(added);
  }

  /** Replaces the text of an event, as an erasure by `node` does. */
  async erase(node: Node, seq: number, before: (query: Query) => Promise<void> = async () => undefined) {
    const at = this.records.findIndex((record) => record.seq === seq);
    const { runSeq, projectId, runId, type, event } = this.records[at] as StoredEvent;
    const json = JSON.stringify({ ...event, message: 'tombstone' });
    await node.database.write(async (query) => {
      await query({ text: 'UPDATE events SET payload = $2, salt = NULL WHERE seq = $1', values: [seq, json] });
      await before(query);
      await node.index.erasing(query, seq);
    });
    this.records[at] = new StoredEvent({ seq, runSeq, projectId, runId, type, json });
    node.index.erased(this.records[at] as StoredEvent);
  }

  async trim(node: Node, seq: number) {
    await node.database.write(async (query) => {
      await query({ text: 'UPDATE head SET oldest = $1', values: [seq + 1] });
      await query({ text: 'DELETE FROM events WHERE seq <= $1', values: [seq] });
      await node.index.trimmed(query, seq);
    });
    this.records.splice(
      0,
      this.records.findIndex((record) => record.seq > seq),
    );
    await node.index.cut(seq + 1);
  }

  async rows<Row extends object>(text: string): Promise<Row[]> {
    return this.database.read<Row>({ text });
  }

  /** All words of the stored index. */
  async words(): Promise<string> {
    return (await this.rows<{ lines: string }>('SELECT lines FROM search_chunks')).map(({ lines }) => lines).join('');
  }

  /** Position up to which each event is in a stored block. */
  async position(): Promise<number> {
    return (await this.rows<{ position: number }>('SELECT position FROM search_index'))[0]?.position ?? 0;
  }

  /** Position of the last event that is in a stored block. */
  async lastStored(): Promise<number> {
    return (await this.rows<{ seq: number }>('SELECT max(last_seq) AS seq FROM search_blocks'))[0]?.seq ?? 0;
  }

  async close() {
    for (const { index, database } of this.#nodes) {
      await index.close();
      await database.close();
    }
    await this.database.close();
  }
}

const find = async (node: Node, query: Omit<SearchQuery, 'limit'>) =>
  (await searchAll(node.log as EventLog, query)).records;
const words = (count: number, projectId = 'p') =>
  upTo(count).map((n) => ({ projectId, message: `common w${n} ${VOCABULARY[n % VOCABULARY.length]}` }));

describe.skipIf(server === undefined)('search in PostgreSQL', () => {
  test('[R1] [R65] each node finds what a scan finds: the one that feeds the index, one that does not, and none', async () => {
    const place = await Place.make();
    const [feeder, other] = [place.node(), place.node()];
    feeder.hold();
    for (let from = 0; from < 12_000; from += 1_000) {
      await place.log(
        upTo(1_000).map((index) => {
          const at = from + index;
          const picked = [at, at >> 3, at * 7].map((pick) => VOCABULARY[pick % VOCABULARY.length]);
          return {
            projectId: 'pqz'[(at >> 5) % (at % 7 === 0 ? 3 : 2)] as string,
            runId: 'rs'[at % 2] as string,
            type: at % 11 === 0 ? 'stage.started' : 'stage.progress',
            actor: ['ann', 'bob'][at % 2] as string,
            message: `${picked.join(' ')} n${at} ${at % 5_000 === 1 ? 'needle' : ''}`,
            atMs: T0 + from,
          };
        }),
      );
    }
    await expect.poll(() => place.lastStored()).toBeGreaterThan(9_000);
    const query = fc.record({
      projects: one<SearchQuery['projects']>('all', ['p'], ['q', 'z'], [], ['none', 'z', 'no\0ne']),
      text: fc.option(one('fail', 'needle', 'sta', '"no space"', '--', 'n1', 'ล้ม', '京', 'reads aligned'), {
        nil: undefined,
      }),
      runId: fc.option(one('r', 's', 'none', 'no\0ne'), { nil: undefined }),
      types: fc.option(one(new Set(['stage.started'])), { nil: undefined }),
      actors: fc.option(one(new Set(['ann']), new Set(['ann', 'bob'])), { nil: undefined }),
      sinceMs: fc.option(one(T0 + 1_000, T0 + 7_000, T0 + 50_000), { nil: undefined, freq: 2 }),
      before: fc.option(fc.integer({ min: 1, max: 12_001 }), { nil: undefined, freq: 2 }),
      limit: one(7, 50, 500),
      node: one(feeder, other),
    });
    await fc.assert(
      fc.asyncProperty(query, async ({ node, ...asked }) => {
        await place.log([{ projectId: 'z', message: VOCABULARY.join(' '), atMs: T0 + 12_000 }]);
        const expected = seqs(matching(place.records, { ...asked, before: asked.before ?? place.head + 1 }));
        expect(seqs(await find(node, { ...asked, before: asked.before ?? place.head + 1 }))).toEqual(expected);
      }),
      { numRuns: 80 },
    );
    feeder.lose();
    expect(seqs(await find(feeder, { projects: ['z'], text: 'reads' }))).toEqual(
      seqs(matching(place.records, { projects: ['z'], text: 'reads' })),
    );
  });

  test('[R66] when the feeder is gone, another one goes on from the stored position: each event is in one block', async () => {
    const place = await Place.make();
    const nodes = [place.node(), place.node(), place.node()] as const;
    let holder = 0;
    for (let round = 0; round < 6; round++) {
      // The former feeder does not know that it has lost the lease: two feed at once.
      nodes[holder]?.hold();
      await place.log(words(1_700, round % 2 ? 'p' : 'q'));
      await place.log(words(100, 'quiet'));
      if (round > 2) await expect.poll(() => place.lastStored()).toBeGreaterThan(round * 1_000 - 2_000);
      if (round % 2) nodes[holder]?.lose();
      holder = (holder + 1) % 3;
    }
    nodes[holder]?.hold();
    await expect.poll(() => place.lastStored()).toBeGreaterThan(0);
    await expect.poll(() => nodes[holder]?.index.lag).toBe(0);
    for (const node of nodes) {
      for (const text of ['common', 'w17', 'failed']) {
        const asked = { projects: 'all' as const, text };
        expect(seqs(await find(node, asked))).toEqual(seqs(matching(place.records, asked)));
      }
    }
    const rows = await place.rows<{ project_id: string; first_seq: number; last_seq: number; seqs: string | null }>(
      'SELECT project_id, first_seq, last_seq, seqs FROM search_blocks',
    );
    const indexed = rows.flatMap(({ first_seq: first, last_seq: last, seqs: list }) =>
      list === null ? upTo(last - first + 1).map((n) => first + n - 1) : (JSON.parse(list) as number[]),
    );
    expect(new Set(indexed).size).toBe(indexed.length);
    const position = await place.position();
    const missing = place.records.filter(({ seq }) => seq <= position && !indexed.includes(seq));
    expect(seqs(missing)).toEqual([]);
  });

  test('[R66] of two feeders that began at different events only one stores: no event is indexed twice', async () => {
    const place = await Place.make();
    const [first, second, other] = [place.node(), place.node(), place.node()];
    first.hold();
    await place.log(words(600));
    await expect.poll(() => first.index.lag).toBe(0);
    // The block of the first feeder has the trimmed events, and that of the second one begins after them.
    await place.trim(other, 500);
    second.hold();
    await expect.poll(() => second.index.lag).toBe(0);
    await place.log(words(1_400));
    await expect.poll(() => place.lastStored()).toBeGreaterThan(1_000);
    await place.log(words(1_600));
    await expect.poll(() => [first.index.lag, second.index.lag], { timeout: 30_000 }).toEqual([0, 0]);
    await expect.poll(() => place.lastStored(), { timeout: 30_000 }).toBeGreaterThan(2_500);
    const blocks = await place.rows<{ first: number; last: number }>(
      'SELECT first_seq AS first, last_seq AS last FROM search_blocks ORDER BY first_seq',
    );
    expect(blocks.filter(({ first: from }, at) => from <= (blocks[at - 1]?.last ?? 0))).toEqual([]);
    const asked = { projects: 'all' as const, text: 'common' };
    expect(seqs(await find(other, asked))).toEqual(seqs(matching(place.records, asked)));
  });

  test('[R66] a write of the index that fails in its middle changes nothing, and is done again', async () => {
    const place = await Place.make();
    const node = place.node();
    await place.database.write((query) =>
      query({
        text: `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF NEW.chunk = 3 THEN RAISE disk_full; END IF; RETURN NEW; END $$;
          CREATE TRIGGER refuse BEFORE INSERT ON search_chunks FOR EACH ROW EXECUTE FUNCTION refuse()`,
      }),
    );
    node.hold();
    await place.log(words(3_000));
    await expect.poll(() => node.index.lag).toBe(3_000);
    expect(await place.rows('SELECT block FROM search_blocks')).toEqual([]);
    expect(seqs(await find(node, { projects: ['p'], text: 'common' }))).toHaveLength(3_000);
    await place.database.write((query) => query({ text: 'DROP TRIGGER refuse ON search_chunks' }));
    await expect.poll(() => place.lastStored()).toBeGreaterThan(2_000);
    expect(seqs(await find(node, { projects: ['p'], text: 'common' }))).toHaveLength(3_000);
  });

  test('[R6] [R67] the words of an erased event leave the index, also if another node has them in memory', async () => {
    const place = await Place.make();
    const [feeder, other] = [place.node(), place.node()];
    feeder.hold();
    await place.log([{ message: 'common zebrasecret' }, ...words(1_500), { message: 'common zebrasecret' }]);
    await expect.poll(() => feeder.index.lag).toBe(0);
    expect(await place.words()).toContain('zebrasecret');
    // The second event is in the memory of the feeder only, and nothing announces the erasure to it.
    for (const seq of [1, 1_502]) await place.erase(other, seq);
    expect(await place.words()).not.toContain('zebrasecret');
    await place.log(words(1_000));
    await expect.poll(() => place.lastStored()).toBeGreaterThan(1_502);
    expect(await place.words()).toContain('tombstone');
    expect(await place.words()).not.toContain('zebrasecret');
    for (const node of [feeder, other]) {
      expect(await find(node, { projects: 'all', text: 'zebrasecret' })).toEqual([]);
      expect(seqs(await find(node, { projects: 'all', text: 'tombstone' }))).toEqual([1_502, 1]);
    }
  });

  test('[R6] [R67] an erasure that waits for the index while the event is stored removes its words', async () => {
    const place = await Place.make();
    const [feeder, other] = [place.node(), place.node()];
    await place.log([...words(500), { message: 'common zebrasecret' }, ...words(700)]);
    await place.erase(other, 501, async (query) => {
      feeder.hold();
      await expect.poll(() => feeder.index.lag).toBeLessThan(200);
      await query({ text: 'SELECT 1' });
    });
    await expect.poll(() => place.lastStored()).toBeGreaterThan(1_000);
    expect(await place.words()).not.toContain('zebrasecret');
    expect(seqs(await find(feeder, { projects: 'all', text: 'tombstone' }))).toEqual([501]);
  });

  test('[R6] [R67] the words of trimmed events leave the index, also of blocks that another node stores later', async () => {
    const place = await Place.make();
    const [feeder, other] = [place.node(), place.node()];
    feeder.hold();
    await place.log(upTo(1_500).map((n) => ({ message: `common old${n}x` })));
    await place.log(upTo(200).map((n) => ({ message: `common kept${n}x`, projectId: 'q' })));
    await place.log(upTo(100).map((n) => ({ message: `common old${n}x` })));
    await expect.poll(() => feeder.index.lag).toBe(0);
    await place.trim(other, 1_750);
    await place.log(words(2_000));
    await expect.poll(() => place.lastStored()).toBeGreaterThan(3_000);
    const all = await place.words();
    expect(all.match(/old\d+x/g)?.length).toBe(50);
    for (const node of [feeder, other]) {
      const asked = { projects: 'all' as const, text: 'common' };
      expect(seqs(await find(node, asked))).toEqual(seqs(matching(place.records, asked)));
    }
    expect(
      await place.rows('SELECT chunk FROM search_chunks WHERE block NOT IN (SELECT block FROM search_blocks)'),
    ).toEqual([]);
  });

  test('[R18] [R67] blocks with terms of an earlier release are renewed by the feeder', async () => {
    const place = await Place.make();
    const [first, second] = [place.node(), place.node()];
    first.hold();
    await place.log(words(4_000));
    await expect.poll(() => place.lastStored()).toBeGreaterThan(3_000);
    first.lose();
    await place.database.write((query) => query({ text: `UPDATE search_blocks SET terms_version = 1` }));
    await place.database.write((query) =>
      query({ text: `UPDATE search_chunks SET lines = replace(lines, 'common', 'kommon')` }),
    );
    second.hold();
    const outdated = () => place.rows('SELECT 1 FROM search_blocks WHERE terms_version < 3');
    await expect.poll(outdated).toEqual([]);
    expect(await place.words()).not.toContain('kommon');
    expect(await find(second, { projects: 'all', text: 'common' })).toHaveLength(4_000);
  });

  test('[R68] the lag of each node is the number of events that no node has indexed', async () => {
    const place = await Place.make();
    const [feeder, other] = [place.node(), place.node()];
    await place.log(words(2_000));
    expect([feeder.index.lag, other.index.lag]).toEqual([2_000, 2_000]);
    feeder.hold();
    await expect.poll(() => [feeder.index.lag, other.index.lag]).toEqual([0, 0]);
    await place.log(words(10));
    await expect.poll(() => [feeder.index.lag, other.index.lag]).toEqual([0, 0]);
    await feeder.index.close();
    await place.log(words(7));
    await expect.poll(() => other.index.lag).toBe(7);
  });

  test('[R4] [R69] a search reads no row of a project that its caller may not read', async () => {
    const place = await Place.make();
    const [feeder, other] = [place.node(), place.node()];
    feeder.hold();
    for (let round = 0; round < 4; round++) await place.log([...words(2_000, 'hidden'), ...words(300, 'mine')]);
    await expect.poll(() => feeder.index.lag).toBe(0);
    await place.database.write((query) => query({ text: 'ANALYZE' }));
    const hidden = randomUUID();
    const plans: string[] = [];
    for (const node of [feeder, other]) {
      const read = node.database.read.bind(node.database);
      node.database.read = async (statement, caller) => {
        if (statement.name?.startsWith('search')) {
          const rows = await explain(place, statement);
          plans.push(...rows);
        }
        return read(statement, caller);
      };
      for (const asked of [{ text: 'common' }, {}, { runId: 'r' }, { text: hidden }]) {
        await find(node, { projects: ['mine'], ...asked });
      }
    }
    // Each index begins with the project, or with a row that was found in such an index.
    const used = plans.flatMap(
      (line) => /Seq Scan on (?!search_index)\w+|Bitmap|(?<=Index .*using )\w+/.exec(line) ?? [],
    );
    expect([...new Set(used)].sort()).toEqual([
      'events_by_project',
      'events_by_run',
      'events_pkey',
      'runs_project_id_run_id_key',
      'search_blocks_by_project',
      'search_chunks_pkey',
    ]);
    const byPosition = plans.filter((_, at) => plans[at - 1]?.includes('events_pkey'));
    expect(byPosition.filter((line) => !line.includes('seq = ANY'))).toEqual([]);
  });
});

/** The tables of a test are so small that the planner would read them whole. */
function explain(place: Place, { text, values }: { text: string; values?: readonly unknown[] }): Promise<string[]> {
  return place.database.write(async (query) => {
    await query({ text: 'SET LOCAL enable_seqscan = off' });
    const explained = { text: `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ${text}`, values: values ?? [] };
    return (await query<{ 'QUERY PLAN': string }>(explained)).map((row) => row['QUERY PLAN']);
  });
}
