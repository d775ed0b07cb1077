import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { PostgresDatabase } from './database.ts';
import { openKeys } from './keys.ts';
import { migrate } from './migrate.ts';

const server = inject('postgres');

describe.skipIf(server === undefined)('the signing key of a log in PostgreSQL', () => {
  async function setUp() {
    const url = await createDatabase(server as string);
    const database = new PostgresDatabase(url, () => undefined);
    onTestFinished(async () => {
      await database.close();
      await dropDatabase(server as string, url);
    });
    const sql = (text: string) => database.write((query) => query({ text }));
    await migrate(database.options);
    const open = async (auditKey?: string) => {
      const { keys, secret, id } = await database.write((query) => openKeys(query, auditKey));
      return { keyId: keys.keyId, secret, id };
    };
    const texts = async () => JSON.stringify(await database.read({ text: 'SELECT * FROM meta' }));
    return { open, sql, texts };
  }
  const refused = (message: string) => ({ code: 'INVALID_INPUT', message: expect.stringContaining(message) });

  test('[V31] without AUDIT_KEY, the key and the secret are made once, and all nodes have them', async () => {
    const { open } = await setUp();
    const [a, b] = [await open(), await open()];
    expect(b).toEqual(a);
    expect(a.secret).toMatch(/^[0-9a-f]{64}$/);
    expect((await (await setUp()).open()).secret).not.toBe(a.secret);
  });

  test('[V31] [V32] with AUDIT_KEY, neither the key nor the secret is in the database, and both stay the same', async () => {
    const { open, texts } = await setUp();
    const pem = AuditKeys.newPem();
    const first = await open(pem);
    const folder = mkdtempSync(join(tmpdir(), 'runwire-key-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'key.pem'), pem);
    expect(await open(join(folder, 'key.pem'))).toEqual(first);
    const stored = await texts();
    expect(stored).not.toContain('PRIVATE KEY');
    expect(stored).not.toContain(first.secret);
    expect((await (await setUp()).open(pem)).keyId).toBe(first.keyId);
  });

  test('[V31] a start with another key, or without the key, is refused with a text that names the variable', async () => {
    const { open, sql } = await setUp();
    const pem = AuditKeys.newPem();
    const { keyId } = await open(pem);
    await expect(open(AuditKeys.newPem())).rejects.toMatchObject(refused(`AUDIT_KEY is not the key ${keyId}`));
    await expect(open()).rejects.toMatchObject(refused('AUDIT_KEY is required'));
    await expect(open(new AuditKeys(pem).publicKey)).rejects.toMatchObject(refused('AUDIT_KEY has no private key'));
    await expect(open('/nowhere/key.pem')).rejects.toMatchObject(refused('neither PEM nor the path'));
    await sql(`DELETE FROM meta WHERE key = 'audit_key_ids'`);
    await expect(open()).rejects.toMatchObject(refused('AUDIT_KEY is required: the replacements of ids'));
  });

  test('[V31] [V32] a new key before the former one is taken while no server runs, and keeps the secret', async () => {
    const { open, sql } = await setUp();
    const [former, next] = [AuditKeys.newPem(), AuditKeys.newPem()];
    const { secret } = await open(former);
    await expect(open(`${next}${new AuditKeys(former).publicKey}`)).rejects.toMatchObject(
      refused('AUDIT_KEY lacks the private key'),
    );
    await sql(`INSERT INTO nodes (node_id, generation, lease_until, erasures, state)
      VALUES ('n', 1, clock_timestamp() + interval '1 minute', 0, '{}')`);
    await expect(open(next + former)).rejects.toMatchObject(refused('running servers'));
    await sql('DELETE FROM nodes');
    expect(await open(next + former)).toMatchObject({ secret, keyId: new AuditKeys(next).keyId });
    await expect(open(former)).rejects.toMatchObject(refused('AUDIT_KEY is not the key'));
  });

  test('[V31] [V32] a key that the database had can be taken out of it, and the secret stays', async () => {
    const { open, sql, texts } = await setUp();
    const pem = AuditKeys.newPem();
    await sql(`INSERT INTO meta VALUES ('audit_key', '${pem}')`);
    const first = await open();
    expect(await texts()).toContain('PRIVATE KEY');
    expect(await open(pem)).toEqual(first);
    expect(await texts()).not.toContain('PRIVATE KEY');
    await expect(open()).rejects.toMatchObject(refused('AUDIT_KEY is required'));
  });
});
