import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, inject, onTestFinished, test, vi } from 'vitest';
import { verify } from '../../server/cli/audit.ts';
import { append, created, eraseAt, started } from '../../server/event-log/conformance/kit.ts';
import { AuditKeys } from '../../server/event-log/integrity/keys.ts';
import { PostgresDatabase } from '../../server/event-log/postgres/database.ts';
import { openPostgresLog } from '../../server/event-log/postgres/log.ts';
import { foldEvent } from '../../shared/events.ts';
import { temporaryFolder } from '../support/harness.ts';
import { createDatabase, dropDatabase } from '../support/postgres.ts';

const server = inject('postgres') as string;

describe.skipIf(server === undefined)('runwire verify on PostgreSQL', () => {
  test('[V8] [V33] verify reads a database with its kept checkpoints, and names the first altered row', async () => {
    const folder = temporaryFolder();
    onTestFinished(() => folder[Symbol.dispose]());
    const url = await createDatabase(server);
    onTestFinished(() => dropDatabase(server, url));
    const auditKey = AuditKeys.newPem();
    const log = await openPostgresLog({ url, fold: foldEvent, auditKey });
    onTestFinished(() => log.close());
    await append(log, created(), started(), started());
    await eraseAt(log, 2);
    const { checkpoint } = await log.integrity.checkpoint();
    const [checkpoints, key] = [join(folder.path, 'kept.ndjson'), join(folder.path, 'key.pem')];
    writeFileSync(checkpoints, `${JSON.stringify(checkpoint)}\n`);
    writeFileSync(key, log.integrity.publicKey);

    let output = '';
    const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      output += text;
      return true;
    });
    onTestFinished(() => write.mockRestore());
    expect(await verify({ database: url, checkpoints, key })).toBe(0);
    expect(output).toMatch(/^ok: 3 events, seq 1 to 3, 1 erased, head [0-9a-f]{64}, 1 checkpoint matches\n$/);
    await expect(verify({ database: url })).rejects.toThrow('without the public key');
    vi.stubEnv('AUDIT_KEY', auditKey.replaceAll('\n', '\\n')); // As in a file of environment variables.
    onTestFinished(() => void vi.unstubAllEnvs());
    output = '';
    const database = new PostgresDatabase(url, () => undefined);
    onTestFinished(() => database.close());
    await database.run({ text: `UPDATE events SET actor = 'eve' WHERE seq = 3` });
    expect(await verify({ database: url })).toBe(1);
    expect(output).toBe('broken at seq 3: row: the row was changed\n');
    const unreachable = Object.assign(new URL(url), { port: '1' }).href;
    await expect(verify({ database: unreachable })).rejects.toThrow(/^the database cannot be read: .*ECONNREFUSED/);
    const other = Object.assign(new URL(url), { pathname: '/template1' }).href;
    await expect(verify({ database: other })).rejects.toThrow('the database has no event log');
    await expect(verify({ database: 'mysql://x' })).rejects.toThrow('must begin with file: or postgres://');
  });
});
