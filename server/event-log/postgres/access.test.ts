import { describe, expect, inject, onTestFinished, test } from 'vitest';
import type { AccessEntry } from '../../../shared/audit.ts';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import { T0 } from '../conformance/kit.ts';
import { PostgresAccess } from './access.ts';
import { PostgresDatabase } from './database.ts';
import { migrate } from './migrate.ts';

const server = inject('postgres') as string;

async function newDatabase(): Promise<PostgresDatabase> {
  const url = await createDatabase(server);
  const database = new PostgresDatabase(url, () => undefined);
  onTestFinished(async () => {
    await database.close();
    await dropDatabase(server, url);
  });
  await migrate(database.options);
  return database;
}

const entry = (fields: Partial<AccessEntry> = {}): AccessEntry => ({
  at: new Date(T0).toISOString(),
  sub: 'ann',
  action: 'run.get',
  outcome: 'ok',
  via: 'ws',
  count: 1,
  ...fields,
});

async function listAll(access: PostgresAccess, limit = 7): Promise<AccessEntry[]> {
  const all: AccessEntry[] = [];
  for (let before: number | undefined; ; ) {
    const page = await access.list({ projects: 'all', limit, before });
    all.push(...page.entries);
    before = page.next;
    if (before === undefined) return all;
  }
}

describe.skipIf(server === undefined)('the access log in PostgreSQL', () => {
  test('[R16] pages skip no entry and repeat none while several nodes write', async () => {
    const database = await newDatabase();
    const nodes = [1, 2, 3].map(() => new PostgresAccess({ database, clock: Date.now }));
    let isWriting = true;
    const seen = new Map<string, number>();
    let before = 0;
    // Reads what is new since the last read: entries that commit late must not appear below what was read.
    const reading = (async () => {
      for (let isLast = false; !isLast; ) {
        isLast = !isWriting;
        const { rows, last } = await newest(database, before);
        for (const sub of rows) seen.set(sub, (seen.get(sub) ?? 0) + 1);
        before = last;
      }
    })();
    await Promise.all(
      nodes.map(async (access, node) => {
        for (let write = 0; write < 40; write++) {
          await access.write([0, 1, 2].map((each) => entry({ sub: `${node} ${write} ${each}` })));
        }
      }),
    );
    isWriting = false;
    await reading;
    expect([...seen.values()].filter((count) => count !== 1)).toEqual([]);
    expect(seen.size).toBe(360);
    const listed = (await listAll(nodes[0] as PostgresAccess)).map(({ sub }) => sub);
    expect(new Set(listed)).toEqual(new Set(seen.keys()));
    expect(listed).toHaveLength(360);
  });

  test('[R16] [R17] times never decrease along the list, and a clock ahead does not carry the times of other nodes with it', async () => {
    const database = await newDatabase();
    const aheadMs = 3_600_000;
    const right = new PostgresAccess({ database, clock: Date.now });
    const ahead = new PostgresAccess({ database, clock: () => Date.now() + aheadMs });
    const at = (ms: number) => new Date(ms).toISOString();
    await ahead.write([entry({ at: at(Date.now() + aheadMs), sub: 'ahead' })]);
    await right.write([entry({ at: at(Date.now()), sub: 'right' })]);
    await ahead.write([entry({ at: at(Date.now() + aheadMs), sub: 'ahead' })]);
    const entries = await listAll(right);
    expect(entries.map(({ sub }) => sub)).toEqual(['ahead', 'right', 'ahead']);
    const times = entries.map((each) => Date.parse(each.at));
    expect(times).toEqual(times.toSorted((a, b) => b - a));
    expect(times.every((time) => Math.abs(time - Date.now()) < 60_000)).toBe(true);
    await right.trim(Date.now() + 60_000);
    expect(await listAll(right)).toEqual([]);
  });

  test('[R16] a list of many projects has the entries of these projects, and a project id that PostgreSQL cannot store has none', async () => {
    const database = await newDatabase();
    const access = new PostgresAccess({ database, clock: Date.now });
    const projects = Array.from({ length: 150 }, (_, index) => `p${index}`);
    await access.write(projects.map((projectId) => entry({ projectId })));
    const wanted = ['none', 'a\0b', ...projects.slice(10)];
    const { entries, next } = await access.list({ projects: wanted, limit: 1_000 });
    expect([entries.map(({ projectId }) => projectId), next]).toEqual([projects.slice(10).reverse(), undefined]);
  });
});

async function newest(database: PostgresDatabase, after: number): Promise<{ rows: string[]; last: number }> {
  const text = 'SELECT id, sub FROM access WHERE id > $1 ORDER BY id';
  const rows = await database.read<{ id: number; sub: string }>({ text, values: [after] });
  return { rows: rows.map(({ sub }) => sub), last: rows.at(-1)?.id ?? after };
}
