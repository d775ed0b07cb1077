import { expect, test } from 'vitest';
import type { DeadLetter } from '../../../shared/webhooks.ts';
import type { PendingDelivery, StoredTry, WebhookRecord } from '../contract/webhooks.ts';
import { append, created, eraseAt, type OpenLog, upTo } from './kit.ts';

/** Tests of the store of webhooks (contract/webhooks.ts). */

const at = '2026-01-01T00:00:00.000Z';
const record = (id: string): WebhookRecord => ({
  id,
  settings: { name: id, url: 'https://example.org', shape: 'json', filter: {} },
  createdAt: at,
  createdBy: 'ada',
  updatedAt: at,
  secrets: [{ secret: 'whsec_QQ==', createdAt: at }],
});
const pending = (seq: number): PendingDelivery => {
  return { kind: 'event', seq, projectId: 'p', runId: 'r', tries: 0, refusals: 0 };
};
const about = (seq: number) => ({ kind: 'event', seq, messageId: `msg_${seq}`, type: 'run.created' }) as const;
const letter = (seq: number): DeadLetter => {
  return { ...about(seq), reason: 'timeout', tries: 4, firstTryAt: at, lastTryAt: at };
};
const attempt = (seq: number): StoredTry => ({
  ...about(seq),
  at,
  attempt: 1,
  ms: 3,
  status: 200,
  answer: `to ${seq}`,
});
const position = (scannedTo: number) => ({ epoch: 'e', scannedTo });

export function describeWebhooks(openLog: OpenLog): void {
  test('[O18] a webhook is stored with its position, pending deliveries and dead letters, and removed with them', async () => {
    const { webhooks } = await openLog();
    expect(await webhooks.load()).toEqual([]);
    await webhooks.put(record('a'), position(7));
    await webhooks.put(record('b'), position(0));
    await webhooks.put({ ...record('a'), pausedFor: 'asked' });
    await webhooks.advance('a', { position: position(9), pending: upTo(2_500).map(pending), dead: [letter(3)] });
    await webhooks.advance('a', { position: position(10), done: [pending(2)], pending: [{ ...pending(1), tries: 2 }] });
    const [a, b] = await webhooks.load();
    expect(b).toEqual({ record: record('b'), position: position(0), pending: [], deadLetters: 0 });
    expect(a).toMatchObject({ record: { ...record('a'), pausedFor: 'asked' }, position: position(10), deadLetters: 1 });
    expect(a?.pending).toEqual([{ ...pending(1), tries: 2 }, ...upTo(2_500).slice(2).map(pending)]);
    await webhooks.remove('a');
    await webhooks.advance('a', { position: position(11), pending: [pending(1)] });
    expect((await webhooks.load()).map(({ record: { id } }) => id)).toEqual(['b']);
    await webhooks.put(record('c'), position(0));
    expect((await webhooks.load())[1]).toMatchObject({ pending: [], deadLetters: 0 });
  });

  test('[O18] tries are listed newest first, dead letters by position with the last answer, and both page by page', async () => {
    const { webhooks } = await openLog();
    for (const id of ['a', 'b']) {
      await webhooks.put(record(id), position(0));
      await webhooks.advance(id, { position: position(5), tries: upTo(5).map(attempt), dead: upTo(5).map(letter) });
    }
    const first = await webhooks.tries('a', { limit: 3 });
    const rest = await webhooks.tries('a', { limit: 3, cursor: first.next });
    expect([...first.items, ...rest.items].map(({ seq }) => seq)).toEqual([5, 4, 3, 2, 1]);
    expect(rest.next).toBeUndefined();
    const { id } = first.items[0] as { id: number };
    expect(await webhooks.try('a', id)).toEqual({ id, ...attempt(5) });
    expect(await webhooks.try('b', id)).toBeUndefined();
    await webhooks.advance('a', { position: position(5), revived: [letter(2)] });
    const letters = await webhooks.deadLetters('a', { limit: 2 });
    const others = await webhooks.deadLetters('a', { limit: 2, cursor: letters.next });
    expect([...letters.items, ...others.items]).toEqual(
      [1, 3, 4, 5].map((seq) => ({ ...letter(seq), answer: attempt(seq).answer })),
    );
    expect(others.next).toBeUndefined();
  });

  test('[O18] about 1,000 tries of a webhook are kept, and a trim deletes those before its instant', async () => {
    const log = await openLog();
    const { webhooks } = log;
    await webhooks.put(record('a'), position(0));
    for (let n = 0; n < 30; n++) await webhooks.advance('a', { position: position(5), tries: upTo(50).map(attempt) });
    const count = async () => {
      let found = 0;
      for (let cursor: number | undefined; ; ) {
        const page = await webhooks.tries('a', { limit: 500, cursor });
        found += page.items.length;
        cursor = page.next;
        if (cursor === undefined) return found;
      }
    };
    expect(await count()).toBeGreaterThanOrEqual(1_000);
    expect(await count()).toBeLessThan(1_200);
    await log.trim(Date.parse(at));
    expect(await count()).toBeGreaterThanOrEqual(1_000);
    await log.trim(Date.parse(at) + 1);
    expect(await count()).toBe(0);
  });

  test('[O10] an erasure removes the answers to the erased event', async () => {
    const log = await openLog();
    await append(log, created(), created({ runId: 's' }));
    await log.webhooks.put(record('a'), position(0));
    await log.webhooks.advance('a', { position: position(2), tries: [attempt(1), attempt(2)] });
    await eraseAt(log, 1);
    const { items } = await log.webhooks.tries('a', { limit: 2 });
    const answers = await Promise.all(items.map(({ id }) => log.webhooks.try('a', id)));
    expect(answers.map((found) => found?.answer)).toEqual(['to 2', '']);
  });

  test('[O18] the headers of runs are read in the order of the query', async () => {
    const log = await openLog();
    await append(log, created(), created({ runId: 's', name: 'other' }));
    const names = await log.runs.headers([
      { projectId: 'p', runId: 's' },
      { projectId: 'q', runId: 's' },
      { projectId: 'p', runId: 'r' },
    ]);
    expect(names.map((header) => header?.name)).toEqual(['other', undefined, 'n']);
  });
}
