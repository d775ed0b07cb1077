import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { dropDatabase } from '../../../tests/support/postgres.ts';
import { connect, newDatabase, open } from '../../../tests/support/postgres-log.ts';
import { append, created } from '../conformance/kit.ts';
import type { EventLog } from '../contract/store.ts';
import { migrations } from './schema.ts';

const server = inject('postgres') as string;

describe.skipIf(server === undefined)('the log in PostgreSQL', () => {
  test('[L50] servers that open an empty database at once share one log', async () => {
    const url = await newDatabase();
    const logs = await Promise.all([1, 2, 3, 4].map(() => open(url)));
    expect(new Set(logs.map(({ epoch }) => epoch)).size).toBe(1);
    expect(new Set(logs.map(({ secret }) => secret)).size).toBe(1);
    expect(logs.map(({ head, headHashPrefix }) => [head, headHashPrefix])).toEqual(logs.map(() => [0, '00000000']));
    const [first] = logs as [EventLog];
    expect([first.epoch, first.secret]).toEqual([
      expect.stringMatching(/^[0-9a-f]{16}$/),
      expect.stringMatching(/^[0-9a-f]{64}$/),
    ]);
  });

  test('[L50] the tables and functions work in a schema with any name', async () => {
    const url = await newDatabase();
    const client = await connect(url);
    await client.query(`CREATE SCHEMA "it's"`);
    const address = new URL(url);
    address.searchParams.set('options', `-csearch_path="it's"`);
    const log = await open(address.href);
    const [{ eventId } = {}] = await append(log, created());
    expect(await log.seqOf('p', eventId as string)).toBe(1);
    await client.query(`SELECT "it's".runwire_publish('{"type":"run.started","projectId":"p","runId":"r"}')`);
    expect((await client.query(`SELECT position FROM "it's".outbox`)).rows).toEqual([{ position: '1' }]);
  });

  test('[L18] a database with a newer schema is refused and not changed', async () => {
    const url = await newDatabase();
    await (await open(url)).close();
    const client = await connect(url);
    const newer = migrations.length + 1;
    await client.query(`UPDATE meta SET value = '${newer}' WHERE key = 'schema_version'`);
    const error = await open(url).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining(`of version ${newer}`) });
    const { rows } = await client.query(`SELECT value FROM meta WHERE key = 'schema_version'`);
    expect(rows).toEqual([{ value: String(newer) }]);
  });

  test('[L18] a schema with a table of another program is refused and not changed, other tables of the user stay', async () => {
    const url = await newDatabase();
    const client = await connect(url);
    await client.query('CREATE TABLE orders (id int); CREATE TABLE runs (id int)');
    const error = await open(url).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining('a table runs of another') });
    const tables = `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY relname`;
    expect((await client.query(tables)).rows).toEqual([{ relname: 'orders' }, { relname: 'runs' }]);
    await client.query('DROP TABLE runs');
    expect((await open(url)).head).toBe(0);
    expect((await client.query('SELECT * FROM orders')).rows).toEqual([]);
  });

  test('[L18] a database that is not in UTF-8 is refused', async () => {
    const url = await newDatabase();
    const client = await connect(url);
    const name = `${new URL(url).pathname.slice(1)}_latin`;
    await client.query(`CREATE DATABASE ${name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`);
    const latin = url.replace(/[^/]+$/, name);
    onTestFinished(() => dropDatabase(server, latin));
    const error = await open(latin).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining('LATIN1') });
  });

  test('[L34] a role that does not own the database is refused with what to do, on an empty database and on a log', async () => {
    const url = await newDatabase();
    const client = await connect(url);
    const name = `guest_${new URL(url).pathname.slice(1)}`;
    await client.query(`CREATE ROLE ${name} LOGIN PASSWORD 'x'; REVOKE CREATE ON SCHEMA public FROM PUBLIC`);
    onTestFinished(async () => {
      const admin = await connect(server);
      await admin.query(`DROP ROLE ${name}`);
    });
    const guest = Object.assign(new URL(url), { username: name, password: 'x' }).href;
    const refused = expect.objectContaining({ message: expect.stringContaining('connect as the role that owns') });
    await expect(open(guest)).rejects.toEqual(refused);
    await (await open(url)).close();
    await expect(open(guest)).rejects.toEqual(refused);
  });

  test('[L34] the size of the database is measured', async () => {
    const sizes: number[] = [];
    await open(await newDatabase(), { onSizes: ({ databaseBytes }) => sizes.push(databaseBytes) });
    await expect.poll(() => sizes.length).toBeGreaterThan(0);
    expect(sizes[0]).toBeGreaterThan(100_000);
  });

  test('[L34] a database that cannot be reached is reported with its place and the cause, without the password', async () => {
    const url = 'postgres://ann:geheim@127.0.0.1:1/gone';
    const error = (await open(url).catch((reason: unknown) => reason)) as Error;
    expect(error).toMatchObject({ code: 'UNAVAILABLE' });
    expect(error.message).toContain('postgres://127.0.0.1:1/gone');
    expect(error.message).toContain('ECONNREFUSED');
    expect(error.message).not.toContain('geheim');
  });
});
