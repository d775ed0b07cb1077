import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import { PostgresDatabase } from './database.ts';
import { migrate } from './migrate.ts';
import { PostgresRevocations } from './revocations.ts';
import { PostgresSessions } from './sessions.ts';
import { PostgresWebhooks } from './webhooks.ts';

const server = inject('postgres');

describe.skipIf(server === undefined)('data beside the log in PostgreSQL', () => {
  async function open() {
    const url = await createDatabase(server as string);
    const database = new PostgresDatabase(url, () => undefined);
    onTestFinished(async () => {
      await database.close();
      await dropDatabase(server as string, url);
    });
    await migrate(database.options);
    const changed: string[] = [];
    const parts = { database, changed: (name: string) => changed.push(name), onChange: () => () => undefined };
    const revisions = async () => {
      const rows = await database.read<{ name: string; revision: number }>({ text: 'SELECT * FROM revisions' });
      return Object.fromEntries(rows.map(({ name, revision }) => [name, revision]));
    };
    const stores = {
      revocations: new PostgresRevocations(parts),
      sessions: new PostgresSessions(parts),
      webhooks: new PostgresWebhooks({ ...parts, nodeId: 'this' }),
    };
    return { ...stores, database, changed, revisions };
  }
  test('[V30] each change that other nodes keep in memory raises the revision of its kind, and is announced', async () => {
    const { revocations, sessions, webhooks, changed, revisions } = await open();
    await revocations.put({ kind: 'jti', id: 'a', atMs: 1, untilMs: 2 });
    await sessions.put({ id: 'a', sealed: 's', endsAtMs: 9 });
    await sessions.remove(['a']);
    const at = '2026-01-01T00:00:00.000Z';
    const settings = { name: 'a', url: 'https://example.org', shape: 'json', filter: {} } as const;
    const record = { id: 'a', settings, createdAt: at, createdBy: 'ada', updatedAt: at, secrets: [] };
    await webhooks.put(record, { epoch: 'e', scannedTo: 0 });
    await webhooks.advance('a', { position: { epoch: 'e', scannedTo: 1 } });
    await webhooks.remove('a');
    expect(changed).toEqual(['revocations', 'sessions', 'sessions', 'webhooks', 'webhooks']);
    expect(await revisions()).toEqual({ revocations: 1, sessions: 2, webhooks: 2 });
    await revocations.forget(3);
    expect(await revocations.all()).toEqual([]);
    expect(await revisions()).toMatchObject({ revocations: 1 });
  });

  test('[V30] an answer with a NUL character is stored', async () => {
    const { webhooks } = await open();
    const at = '2026-01-01T00:00:00.000Z';
    const settings = { name: 'a', url: 'https://example.org', shape: 'json', filter: {} } as const;
    await webhooks.put(
      { id: 'a', settings, createdAt: at, createdBy: 'ada', updatedAt: at, secrets: [] },
      { epoch: 'e', scannedTo: 0 },
    );
    const tried = {
      kind: 'event',
      seq: 1,
      messageId: 'm',
      type: 'run.created',
      at,
      attempt: 1,
      ms: 3,
      status: 200,
    } as const;
    await webhooks.advance('a', { position: { epoch: 'e', scannedTo: 1 }, tries: [{ ...tried, answer: 'a\0b' }] });
    const { items } = await webhooks.tries('a', { limit: 9 });
    expect(await webhooks.try('a', items[0]?.id as number)).toMatchObject({ answer: 'a\uFFFDb' });
  });

  test('[M48] the progress of a node does nothing once another node has the lease of the webhooks', async () => {
    const { webhooks, database } = await open();
    const at = '2026-01-01T00:00:00.000Z';
    const settings = { name: 'a', url: 'https://example.org', shape: 'json', filter: {} } as const;
    const record = { id: 'a', settings, createdAt: at, createdBy: 'ada', updatedAt: at, secrets: [] };
    await webhooks.put(record, { epoch: 'e', scannedTo: 0 });
    const holds = (node: string, end: string) =>
      database.run({
        text: `INSERT INTO leases (name, node_id, lease_until) VALUES ('webhooks', $1, clock_timestamp() + $2::interval)
          ON CONFLICT (name) DO UPDATE SET node_id = excluded.node_id, lease_until = excluded.lease_until`,
        values: [node, end],
      });
    const positions: number[] = [];
    for (const [index, [node, end]] of [
      ['this', '9 s'],
      ['other', '9 s'],
      ['other', '-1 s'],
    ].entries()) {
      await holds(node as string, end as string);
      const dead = {
        kind: 'event',
        seq: index + 1,
        projectId: 'p',
        runId: 'r',
        tries: 1,
        at,
        reason: 'refused',
      } as never;
      await webhooks.advance('a', { position: { epoch: 'e', scannedTo: index + 1 }, dead: [dead] });
      const [loaded] = await webhooks.load();
      positions.push(loaded?.position.scannedTo as number, loaded?.deadLetters as number);
    }
    expect(positions).toEqual([1, 1, 1, 1, 3, 2]);
  });
});
