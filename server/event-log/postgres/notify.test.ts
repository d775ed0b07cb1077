import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { newLog } from '../../../tests/support/nodes.ts';
import { startPostgres } from '../../../tests/support/postgres.ts';
import type { Problem } from '../../health.ts';
import { NotifyBackplane } from './notify.ts';

const server = inject('postgres') as string;

type Received = NotifyBackplane & { received: string[]; reports: (Problem | undefined)[] };

function open(url: string, channel = 'a'): Received {
  const reports: (Problem | undefined)[] = [];
  const report = (condition: string, problem: Problem | undefined) => {
    expect(condition).toBe('backplane');
    reports.push(problem);
  };
  const backplane = new NotifyBackplane({ options: { connectionString: url }, channel, health: { report } });
  onTestFinished(() => backplane.close());
  const received: string[] = [];
  backplane.receive((message) => void received.push(message));
  return Object.assign(backplane, { received, reports });
}

const untilConnected = async (...backplanes: NotifyBackplane[]) => {
  for (const backplane of backplanes) {
    await expect.poll(() => backplane.isConnected).toBe(true);
  }
};

describe.skipIf(server === undefined)('messages by LISTEN and NOTIFY (PostgreSQL)', () => {
  test('[M16] a message reaches every node of the channel and no other one, whatever its length and characters', async () => {
    const { url } = await newLog(server);
    const [a, b, other] = [open(url), open(url), open(url, 'b')];
    await untilConnected(a, b, other);
    const messages = [
      '',
      'one',
      `"quotes" \\ 'and' {braces}\n東京 🚀`,
      'x'.repeat(7_900),
      '東'.repeat(7_000),
      `${'🚀'.repeat(30_000)}!`,
      'last',
    ];
    for (const message of messages) a.send(message);
    for (const { received } of [a, b]) await expect.poll(() => received.at(-1)).toBe('last');
    // NOTIFY delivers equal texts of one transaction once, and an empty one as an empty payload.
    expect(b.received).toEqual(messages);
    expect(a.received).toEqual(messages);
    expect(other.received).toEqual([]);
  });

  test('[M17] send never throws or waits: without a connection, and beyond a bound, messages are lost', async () => {
    const { url } = await newLog(server);
    const a = open(url);
    a.send('before it is connected');
    await untilConnected(a);
    for (let count = 0; count < 2_000; count++) a.send(`${count} ${'x'.repeat(7_000)}`);
    await expect.poll(() => a.received.length).toBeGreaterThan(100);
    a.send('last');
    await expect.poll(() => a.received.at(-1)).toBe('last');
    expect(a.received).not.toContain('before it is connected');
    expect(a.received.length).toBeLessThan(500);
  });

  test('[M17] a connection that is ended is replaced, and the condition backplane has a problem meanwhile', async () => {
    const { url, sql } = await newLog(server);
    const [a, b] = [open(url), open(url)];
    await untilConnected(a, b);
    const end = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()`;
    await sql.query(end);
    for (const { reports } of [a, b])
      await expect.poll(() => reports.filter((problem) => problem).length).toBeGreaterThan(0);
    expect(a.reports.find((problem) => problem)?.message).toContain('PostgreSQL carries no messages');
    await untilConnected(a, b);
    expect(a.reports.at(-1)).toBeUndefined();
    a.send('again');
    await expect.poll(() => b.received).toEqual(['again']);
  });

  test('[M17] after a restart of PostgreSQL the nodes exchange messages again', async () => {
    const postgres = await startPostgres();
    onTestFinished(() => postgres.remove());
    const [a, b] = [open(postgres.url), open(postgres.url)];
    await untilConnected(a, b);
    await postgres.stop('immediate');
    await expect.poll(() => a.isConnected || b.isConnected).toBe(false);
    a.send('lost');
    await postgres.start();
    await untilConnected(a, b);
    a.send('again');
    await expect.poll(() => b.received).toEqual(['again']);
  });
});
