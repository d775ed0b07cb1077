import { expect, onTestFinished, test } from 'vitest';
import type { RunEvent } from '../../shared/events.ts';
import { created, everyone, openServer, progress, startServer, tokenFor, Wire } from '../support/harness.ts';

type Found = { events: RunEvent[]; nextCursor?: string };
type Query = { text?: string; projectId?: string; runId?: string; types?: RunEvent['type'][]; actor?: string };

async function serve() {
  const server = await openServer();
  onTestFinished(() => server.close());
  return server;
}

test('[R1] event.search pages newest first, each match once while events arrive, over the socket', async () => {
  const server = await startServer();
  onTestFinished(() => server.close());
  await server.bus.publish(
    Array.from({ length: 60 }, (_, at) => created(`r${at}`, { name: `Cohort ${at}` })),
    { actor: 'ci' },
  );
  await using wire = await Wire.open(server.url);
  const seen: number[] = [];
  let cursor: string | undefined;
  do {
    const answer = await wire.call('query', 'event.search', { text: 'cohort', limit: 7, cursor });
    const { events, nextCursor } = (answer.result as { data: Found }).data;
    seen.push(...events.map(({ seq }) => seq));
    cursor = nextCursor;
    await server.broadcaster.broadcastRunCreated({ projectId: 'demo', runId: `late${seen.length}`, name: 'Cohort' });
  } while (cursor !== undefined);
  expect(seen).toEqual(Array.from({ length: 60 }, (_, index) => 60 - index));
});

test('[R1] since and until compare recordedAt, and every filter narrows', async () => {
  const server = await serve();
  const caller = server.router.createCaller({ principal: everyone });
  const publish = (...args: Parameters<typeof server.bus.publish>) => server.bus.publish(...args);
  await publish([created('r1', { timestamp: '2020-01-01T00:00:00Z' })], { actor: 'ann' });
  await publish([progress('r1', 10, { message: 'aligned' }), created('r2', { projectId: 'other' })], { actor: 'bob' });
  const of = async (query: Query & { since?: string; until?: string }) =>
    (await caller.event.search(query)).events.map(({ seq }) => seq);
  expect(await of({})).toEqual([3, 2, 1]);
  expect(await of({ text: '  ' })).toEqual([3, 2, 1]);
  expect(await of({ projectId: 'other' })).toEqual([3]);
  expect(await of({ runId: 'r1' })).toEqual([2, 1]);
  expect(await of({ types: ['run.created'] })).toEqual([3, 1]);
  expect(await of({ actor: 'ann' })).toEqual([1]);
  expect(await of({ text: 'run', actor: 'bob', types: ['run.created'] })).toEqual([3]);
  expect(await of({ until: '2021-01-01T00:00:00Z' })).toEqual([]);
  expect(await of({ since: '2021-01-01T00:00:00+01:00' })).toEqual([3, 2, 1]);
});

test('[R3] any text is a valid search', async () => {
  const server = await serve();
  const caller = server.router.createCaller({ principal: everyone });
  await server.bus.publish(
    [created('r1', { name: `It's 100% "done" (a* OR NEAR/2 b) — 🚀 naïve; DROP TABLE events` })],
    { actor: 'ci' },
  );
  const find = async (text: string) => (await caller.event.search({ text })).events.length;
  const finds = [
    'it',
    "it's",
    '100%',
    '"done"',
    'a* OR NEAR',
    'NEAR/2',
    '🚀',
    'NAIVE',
    'drop table',
    '(',
    '"',
    'done"',
    '-run',
    "'; --",
    'a\0b',
  ];
  const found = await Promise.all(finds.map(find));
  expect(Object.fromEntries(finds.map((text, index) => [text, found[index]]))).toMatchObject({
    it: 1,
    "it's": 1,
    '100%': 1,
    '"done"': 1,
    'a* OR NEAR': 1,
    'NEAR/2': 1,
    '🚀': 1,
    NAIVE: 1,
    'drop table': 1,
    '-run': 1,
    '(': 0,
    '"': 0,
    "'; --": 0,
  });
  for (const text of [
    'x '.repeat(1_000),
    '"'.repeat(2_000),
    '*'.repeat(2_000),
    '\0'.repeat(2_000),
    '\ud800',
    'é'.repeat(2_000),
    '🚀'.repeat(1_000),
  ]) {
    expect(await find(text)).toBe(0);
  }
  await expect(find('x'.repeat(2_001))).rejects.toMatchObject({ cause: { code: 'INVALID_INPUT', path: 'text' } });
});

test('[R4] unreadable events are not found, and look like absent ones', async () => {
  const server = await serve();
  const drafts = Array.from({ length: 400 }, (_, at) =>
    created(`r${at}`, { projectId: at % 4 ? 'theirs' : 'mine', name: at % 4 ? 'secret' : 'shared secret' }),
  );
  await server.bus.publish(drafts, { actor: 'ci' });
  const caller = server.router.createCaller({
    principal: { sub: 'ann', projects: ['mine', 'mine'], roles: ['viewer'] },
  });
  const pages: Found[] = [];
  let cursor: string | undefined;
  do {
    const page: Found = await caller.event.search({ text: 'secret', limit: 30, cursor });
    pages.push(page);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  // Every page is full: unreadable events take no place in it.
  expect(pages.map(({ events }) => events.length)).toEqual([30, 30, 30, 10]);
  expect(new Set(pages.flatMap(({ events }) => events.map(({ projectId }) => projectId)))).toEqual(new Set(['mine']));
  const nothing = { events: [] };
  for (const text of ['secret', undefined]) {
    expect(await caller.event.search({ text, projectId: 'theirs' })).toEqual(nothing);
    expect(await caller.event.search({ text, projectId: 'unknown' })).toEqual(nothing);
    expect(await caller.event.search({ text, runId: 'r1' })).toEqual(nothing);
    expect(await caller.event.search({ text, runId: 'unknown' })).toEqual(nothing);
    expect(await caller.event.search({ text, actor: 'nobody' })).toEqual(nothing);
  }
  const producer = server.router.createCaller({ principal: { sub: 'ci', projects: ['*'], roles: ['producer'] } });
  expect(await producer.event.search({ text: 'secret' })).toEqual(nothing);
});

test('[R2] own event types are searched too', async () => {
  const { defineEvent, runwireEvents } = await import('../../shared/index.ts');
  const { z } = await import('zod');
  const fields = { findings: z.array(z.object({ note: z.string() })) };
  const own = defineEvent({ type: 'review.noted', category: 'review', topic: 'jobs', fields });
  const server = await openServer({ events: { ...runwireEvents, 'review.noted': own } } as never);
  onTestFinished(() => server.close());
  const draft = { type: 'review.noted', projectId: 'demo', runId: 'r1', findings: [{ note: 'Margins are wide' }] };
  await server.bus.publish([draft as never], { actor: 'ci' });
  const { events } = await server.router.createCaller({ principal: everyone }).event.search({ text: 'margins wide' });
  expect(events).toMatchObject([draft]);
});

test('[R7] [Q3] pages of event.search and run.history end at 1 MiB of events, and together they have each event once', async () => {
  const { defineEvent, runwireEvents } = await import('../../shared/index.ts');
  const { z } = await import('zod');
  const own = defineEvent({ type: 'noted', category: 'noted', topic: 'jobs', fields: { notes: z.array(z.string()) } });
  const server = await openServer({ events: { ...runwireEvents, noted: own } } as never);
  onTestFinished(() => server.close());
  const notes = Array.from({ length: 30 }, () => 'wide '.repeat(390));
  const drafts = Array.from({ length: 40 }, () => ({ type: 'noted', projectId: 'demo', runId: 'r1', notes }) as never);
  await server.bus.publish(drafts, { actor: 'ci' });
  const { event, run } = server.router.createCaller({ principal: everyone });
  type Page = (cursor: string | undefined) => Promise<Found>;
  const pagesOf: Page[] = [
    (cursor) => event.search({ text: 'wide', limit: 500, cursor }),
    (cursor) => event.search({ limit: 500, cursor }),
    (cursor) => run.history({ runId: 'r1', limit: 500, cursor }),
  ];
  for (const page of pagesOf) {
    const seen: number[] = [];
    let cursor: string | undefined;
    do {
      const { events, nextCursor } = await page(cursor);
      expect(JSON.stringify(events).length).toBeLessThan((1 << 20) + (1 << 18) + (1 << 16));
      seen.push(...events.map(({ seq }) => seq));
      cursor = nextCursor;
    } while (cursor !== undefined);
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
  }
});

test('[R8] an invalid cursor is CURSOR_INVALID with its path', async () => {
  await using server = await startServer();
  const headers = { authorization: `Bearer ${await tokenFor()}` };
  for (const [procedure, cursor] of [
    ['event.search', 'nonsense'],
    ['event.search', 'abcdef.7'],
    ['event.search', 'x'.repeat(5_000)],
    ['audit.access', 'nonsense'],
    ['approval.list', 'nonsense'],
  ] as const) {
    const input = encodeURIComponent(JSON.stringify({ text: 'x', cursor }));
    const plain = encodeURIComponent(JSON.stringify({ cursor }));
    const url = `${server.url}/trpc/${procedure}?input=${procedure === 'event.search' ? input : plain}`;
    const answer = await fetch(url, { headers });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { data: { runwireCode: 'CURSOR_INVALID', field: 'cursor' } } });
  }
});
