import { Client } from 'pg';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import { append, started, T0, until, upTo } from '../conformance/kit.ts';
import { silentBackplane } from './backplane.ts';
import { openPostgresLog } from './log.ts';
import { TRIM_STATEMENTS } from './retention.ts';

const server = inject('postgres') as string;

describe.skipIf(server === undefined)('retention in PostgreSQL', () => {
  test('[V36] a trim follows indexes, and removes the ids of its events alone', async () => {
    const url = await createDatabase(server);
    onTestFinished(() => dropDatabase(server, url));
    let nowMs = T0;
    const log = await openPostgresLog({ url, fold: foldEvent, now: () => nowMs });
    onTestFinished(() => log.close());
    const client = new Client({ connectionString: url });
    await client.connect();
    onTestFinished(() => client.end());

    await append(log, ...upTo(50).map((index) => started({ eventId: `e${index}` })));
    nowMs += 1_000;
    for (let count = 0; count < 20; count++) await append(log, ...upTo(500).map(() => started()));
    await client.query('ANALYZE');
    for (const text of TRIM_STATEMENTS) {
      const { rows } = await client.query({ text: `EXPLAIN (FORMAT JSON) ${text}`, values: [50] });
      expect(JSON.stringify(rows), text).not.toMatch(/"Seq Scan"[^{}]*?"Relation Name":"events"/);
    }
    await log.trim(nowMs);
    expect(await Promise.all(upTo(50).map((index) => log.seqOf('p', `e${index}`)))).toEqual(Array(50).fill(undefined));
    expect(await append(log, started({ eventId: 'e7' }))).toMatchObject([{ seq: 10_051, isDuplicate: false }]);
    const kept = await client.query('SELECT count(*)::int AS count FROM events');
    expect(kept.rows).toEqual([{ count: 10_001 }]);
  });

  test('[L42] a page that lacks trimmed events has the oldest position of its moment', async () => {
    const url = await createDatabase(server);
    onTestFinished(() => dropDatabase(server, url));
    let nowMs = T0;
    const open = async () => {
      const log = await openPostgresLog({ url, fold: foldEvent, now: () => nowMs, backplane: silentBackplane });
      onTestFinished(() => log.close());
      return log;
    };
    const [a, b] = [await open(), await open()];
    await append(a, ...upTo(20).map(() => started()));
    nowMs += 1_000;
    await append(a, started());
    await until(() => b.head === 21);
    let isTrimmed = false;
    const trimmed = a.trim(nowMs).then(() => {
      isTrimmed = true;
    });
    // Some of these pages are read before the pulse of this node.
    const scope = { kind: 'run', projectId: 'p', runId: 'r' } as const;
    while (!isTrimmed || b.oldest === 1) {
      const { records, oldest } = await b.read({ scope, after: 0, limit: 100 });
      expect(oldest).toBe(records[0]?.seq);
      let first: number | undefined;
      const visit = (json: string) => {
        first ??= (JSON.parse(json) as { seq: number }).seq;
        return true;
      };
      expect((await b.scan({ projectId: 'p', runId: 'r', after: 0, visit })).oldest).toBe(first);
    }
    await trimmed;
  });
});
