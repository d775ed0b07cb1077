import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import { createDatabase, dropDatabase } from '../../../tests/support/postgres.ts';
import { append, created, draft, started, upTo } from '../conformance/kit.ts';
import { openPostgresLog } from './log.ts';

const server = inject('postgres') as string;

describe.skipIf(server === undefined)('runs and approvals in PostgreSQL', () => {
  const newDatabase = async () => {
    const url = await createDatabase(server);
    onTestFinished(() => dropDatabase(server, url));
    return url;
  };
  const open = async (url: string) => {
    const log = await openPostgresLog({ url, fold: foldEvent });
    onTestFinished(() => log.close());
    return log;
  };
  test('[L42] changed runs that another node has logged are in a page, which never goes beyond the head of its node', async () => {
    const url = await newDatabase();
    const [writer, reader] = [await open(url), await open(url)];
    let after = 0;
    for (const index of upTo(40)) {
      await append(writer, created({ runId: `r${index}` }), started({ runId: 'r1' }));
      const seen: string[] = [];
      while (after < writer.head) {
        const page = await reader.runs.changedSince({ projects: 'all', after, limit: 1 });
        expect(page.scannedTo).toBeLessThanOrEqual(reader.head);
        seen.push(...page.runs.map(({ runId }) => runId));
        after = page.scannedTo;
      }
      expect(seen).toEqual(index === 1 ? ['r1'] : [`r${index}`, 'r1']);
    }
  });

  test('[L60] a page of changed runs reaches the head, however many events of few runs there are', async () => {
    const log = await open(await newDatabase());
    await append(log, created({ runId: 'quiet' }));
    for (const index of upTo(12)) {
      await append(
        log,
        ...upTo(1_000).map((n) => draft('stage.progress', { stageId: 's', progress: (index + n) % 100 })),
      );
    }
    const page = await log.runs.changedSince({ projects: ['p'], after: 1, limit: 9 });
    expect(page).toMatchObject({ runs: [{ runId: 'r', lastSeq: 12_001 }], scannedTo: 12_001 });
    const first = await log.runs.changedSince({ projects: 'all', after: 0, limit: 1 });
    expect(first).toMatchObject({ runs: [{ runId: 'quiet' }], scannedTo: 1 });
  });
});
