import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { AccessEntry } from '../../../shared/audit.ts';
import type { AccessQuery } from '../contract/access.ts';
import { instant, type OpenLog, one, T0, upTo } from './kit.ts';

/** Tests of the access log (contract/access.ts). */
export function describeAccess(openLog: OpenLog): void {
  const entry = (second: number, fields: Partial<AccessEntry> = {}): AccessEntry => ({
    at: instant(second),
    sub: 'ann',
    action: 'run.get',
    outcome: 'ok',
    via: 'ws',
    count: 1,
    ...fields,
  });

  test('[R16] access entries are listed newest first, page by page, each one once, with every combination of filters', async () => {
    const log = await openLog();
    const entries = upTo(600).map((index) =>
      entry(index, {
        sub: [null, 'ann', 'bob'][index % 3] as string | null,
        action: index % 2 ? 'run.get' : 'event.search',
        outcome: index % 5 ? 'ok' : 'FORBIDDEN',
        ...(index % 4 ? { projectId: 'pqz'[index % 4] ?? 'p' } : {}),
        ...(index % 7 ? { runId: `r${index % 2}` } : {}),
        ...(index % 9 ? {} : { detail: 'resume', count: index }),
      }),
    );
    for (let from = 0; from < 600; from += 200) await log.access.write(entries.slice(from, from + 200));
    const query = fc.record({
      projects: one<AccessQuery['projects']>('all', ['q'], ['q', 'z'], []),
      sub: fc.option(one('ann', 'eve'), { nil: undefined }),
      action: fc.option(one('run.get'), { nil: undefined }),
      projectId: fc.option(one('q', 'none'), { nil: undefined }),
      runId: fc.option(one('r0', 'r1'), { nil: undefined }),
      outcome: fc.option(one('ok', 'FORBIDDEN'), { nil: undefined }),
      since: fc.option(fc.integer({ min: 0, max: 620 }), { nil: undefined }),
      until: fc.option(fc.integer({ min: 0, max: 620 }), { nil: undefined }),
      limit: one(3, 100),
    });
    await fc.assert(
      fc.asyncProperty(query, async ({ since, until, ...rest }) => {
        const at = (second: number | undefined) => (second === undefined ? undefined : T0 + second * 1_000);
        const asked = { ...rest, sinceMs: at(since), untilMs: at(until) };
        const listed: AccessEntry[] = [];
        for (let before: number | undefined; ; ) {
          const page = await log.access.list({ ...asked, before });
          listed.push(...page.entries);
          before = page.next;
          if (before === undefined) break;
        }
        const expected = entries.filter(
          (each) =>
            (rest.projects === 'all' || (each.projectId !== undefined && rest.projects.includes(each.projectId))) &&
            (['sub', 'action', 'projectId', 'runId', 'outcome'] as const).every(
              (key) => rest[key] === undefined || each[key] === rest[key],
            ) &&
            (since === undefined || each.at >= instant(since)) &&
            (until === undefined || each.at < instant(until)),
        );
        expect(listed).toEqual(expected.reverse());
      }),
      { numRuns: 200 },
    );
  });

  test('[R17] a trim deletes the access entries from before its instant, and the times of entries never decrease', async () => {
    const log = await openLog();
    await log.access.write([entry(5), entry(9), entry(2)]);
    const times = async () => (await log.access.list({ projects: 'all', limit: 9 })).entries.map(({ at }) => at);
    expect(await times()).toEqual([9, 9, 5].map(instant));
    await log.trim(T0 + 9_000);
    expect(await times()).toEqual([9, 9].map(instant));
  });
}
