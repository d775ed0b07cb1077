import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RunEvent } from '../../../shared/events.ts';
import type { SearchQuery } from '../contract/search.ts';
import {
  append,
  created,
  draft,
  fillForSearch,
  matching,
  type OpenLog,
  one,
  readAll,
  searchAll,
  seqs,
  T0,
  turnsDuring,
  upTo,
  VOCABULARY,
} from './kit.ts';

/** Tests of search by text and by fields (contract/search.ts). */
export function describeSearch(openLog: OpenLog): void {
  test('[R1] [R2] a search finds the same events as a scan of all events, newest first, each one once, while events arrive', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    const tick = () => {
      now += 1_000;
    };
    // With this many events, some blocks of the index are full, one project is far behind, and some blocks are in memory
    // only.
    await fillForSearch(log, 20_000, tick);
    const fields = {
      text: fc.option(
        fc
          .array(
            one(
              ...VOCABULARY,
              'n1',
              'n19',
              '"no space"',
              '"space no"',
              'needle',
              'emile',
              'STAGE',
              'ann',
              'ali',
              'ล้ม',
              'ว',
              '"ระบบ"',
              'หลวgui',
              'บร',
              '京',
            ),
            {
              minLength: 1,
              maxLength: 3,
            },
          )
          .map((words) => words.join(' ')),
        { nil: undefined, freq: 6 },
      ),
      runId: fc.option(one('r', 's', 'none'), { nil: undefined }),
      types: fc.option(one(new Set(['stage.started']), new Set(['stage.started', 'stage.progress'])), {
        nil: undefined,
      }),
      actors: fc.option(one(new Set(['ann']), new Set(['ann', 'bob']), new Set(['nobody'])), { nil: undefined }),
      sinceMs: fc.option(fc.integer({ min: -1, max: 205 }), { nil: undefined, freq: 2 }),
      untilMs: fc.option(fc.integer({ min: -1, max: 205 }), { nil: undefined, freq: 2 }),
      before: fc.option(fc.integer({ min: 1, max: 20_001 }), { nil: undefined, freq: 2 }),
      limit: one(7, 50, 500),
    };
    const query = fc.record({
      projects: one<SearchQuery['projects']>('all', ['p'], ['q', 'z'], [], ['none', 'z']),
      ...fields,
    });
    const records = await readAll(log);
    await fc.assert(
      fc.asyncProperty(query, async ({ sinceMs, untilMs, ...rest }) => {
        const at = (seconds: number | undefined) => (seconds === undefined ? undefined : T0 + seconds * 1_000);
        const asked = {
          ...rest,
          sinceMs: at(sinceMs),
          untilMs: at(untilMs),
          before: rest.before ?? records.length + 1,
        };
        await append(log, draft('stage.progress', { stageId: 'a', message: VOCABULARY.join(' ') }));
        const found = await searchAll(log, asked);
        expect(seqs(found.records)).toEqual(seqs(matching(records, asked)));
        expect(found.records.map(({ json }) => json)).toEqual(matching(records, asked).map(({ json }) => json));
      }),
      { numRuns: 60 },
    );
  });

  test('[R23] a count equals the counts of what a search finds, summed over its pages', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    await fillForSearch(log, 5_000, () => {
      now += 600_000;
    });
    const query = fc.record({
      projects: one<SearchQuery['projects']>('all', ['p'], ['q', 'z'], [], ['none', 'z']),
      text: fc.option(one('fail', 'needle', 'sta', '"no space"', '--'), { nil: undefined }),
      types: fc.option(one(new Set(['stage.started']), new Set(['stage.started', 'stage.progress'])), {
        nil: undefined,
      }),
      actors: fc.option(one(new Set(['ann']), new Set(['ann', 'bob'])), { nil: undefined }),
      limit: one(1_000, 10_000),
    });
    await fc.assert(
      fc.asyncProperty(query, async (asked) => {
        const { records } = await searchAll(log, asked);
        const sum: Record<string, number> = {};
        let before: number | undefined;
        do {
          const { tally, next } = await log.search.count({ ...asked, before });
          expect(tally.total).toBeLessThanOrEqual(asked.limit);
          for (const [field, counts] of Object.entries({ ...tally, total: new Map([['', tally.total]]) })) {
            for (const [value, count] of counts) sum[`${field} ${value}`] = (sum[`${field} ${value}`] ?? 0) + count;
          }
          before = next;
        } while (before !== undefined);
        const expected: Record<string, number> = { 'total ': 0 };
        for (const { event } of records) {
          const { type, projectId, actor, recordedAt } = event as RunEvent;
          const hour = Date.parse(recordedAt) - (Date.parse(recordedAt) % 3_600_000);
          for (const key of ['total ', `types ${type}`, `projects ${projectId}`, `actors ${actor}`, `hours ${hour}`]) {
            expected[key] = (expected[key] ?? 0) + 1;
          }
        }
        expect(sum).toEqual(expected);
      }),
      { numRuns: 40 },
    );
  });

  test('[R2] text without spaces between words is found by a word inside a sentence, in new events and in old ones', async () => {
    const log = await openLog();
    const sentences = [
      'ระบบล้มเหลวแล้ว',
      'ລະບົບລົ້ມເຫຼວແລ້ວ',
      'ប្រព័ន្ធបានបរាជ័យ',
      'စနစ်မအောင်မြင်ပါ',
      '系统处理失败',
      '処理が失敗した',
    ];
    const progress = (message: string) => draft('stage.progress', { stageId: 'a', message });
    await append(log, ...sentences.map(progress));
    for (let count = 0; count < 2_000; count += 500) {
      await append(log, ...upTo(500).map((index) => progress(`step ${count + index}`)));
    }
    await append(log, ...sentences.map(progress));
    const find = async (text: string) => seqs((await searchAll(log, { projects: 'all', text })).records);
    for (const [index, text] of ['ล้มเหลว', 'ລົ້ມເຫຼວ', 'បរាជ័យ', 'အောင်မြင်', '处理', '失敗'].entries()) {
      for (const asked of [text, `"${text}"`, `${text} a`])
        expect(await find(asked)).toEqual([2_007 + index, 1 + index]);
    }
    expect(await find('เหลวล้ม')).toEqual([]);
  });

  test('[R2] a text without a word finds nothing', async () => {
    const log = await openLog();
    await append(log, created());
    for (const text of ['', '  ', '--', '""']) {
      expect(await log.search.find({ projects: 'all', text, limit: 5 })).toEqual({ records: [] });
    }
    expect((await log.search.find({ projects: 'all', limit: 5 })).records).toHaveLength(1);
  });

  test('[R5] a search finds an event that was just published', async () => {
    const log = await openLog();
    for (const index of upTo(5)) {
      await append(log, created({ name: `unheard-of ${index}` }));
      expect(seqs((await log.search.find({ projects: 'all', text: `unheard-of ${index}`, limit: 5 })).records)).toEqual(
        [index],
      );
    }
  });

  test('[R6] a search no longer finds trimmed events, and still finds all others', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    await fillForSearch(log, 5_000, () => {
      now += 1_000;
    });
    for (const oldest of [1_501, 3_001, 5_000]) {
      await log.trim(T0 + (oldest / 100) * 1_000 + 1_000 - 1);
      const kept = await readAll(log);
      for (const text of [undefined, 'fail', 'needle']) {
        const asked = { projects: 'all' as const, text };
        expect(seqs((await searchAll(log, asked)).records)).toEqual(seqs(matching(kept, asked)));
      }
    }
    expect((await readAll(log)).length).toBeLessThan(101);
  });

  test('[R7] during a long search the event loop runs other work, and the search returns what it has found when its budget is used up', async () => {
    const log = await openLog();
    for (let batch = 0; batch < 60; batch++) {
      await append(log, ...upTo(1_000).map(() => draft('stage.started', { stageId: 'a' })));
    }
    const rare = { projects: 'all' as const, types: new Set(['run.failed']), limit: 5 };
    const searching = searchAll(log, rare);
    const turns = await turnsDuring(searching);
    expect(turns.immediates).toBeGreaterThan(3);
    expect(await searching).toEqual({ records: [], pages: 2 });
    const first = await log.search.find(rare);
    expect(first).toMatchObject({ records: [], next: expect.any(Number) });
    const reason = new Error('the client has left');
    await expect(log.search.find({ ...rare, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
}
