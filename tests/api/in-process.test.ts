import { describe, expect, onTestFinished, test } from 'vitest';
import type { Principal } from '../../server/auth/principal.ts';
import { cursorAt, decodeCursor } from '../../server/event-log/cursor.ts';
import type { RunEvent } from '../../shared/events.ts';
import { foldEvent } from '../../shared/events.ts';
import type { StreamSignal } from '../../shared/protocol.ts';
import { isSignal } from '../../shared/protocol.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import {
  allRoles,
  created,
  everyone,
  isLive,
  openServer,
  progress,
  take,
  temporaryFolder,
} from '../support/harness.ts';

type Item = RunEvent | StreamSignal;
const seqs = (items: Item[]) => items.flatMap((item) => (isSignal(item) ? [] : [item.seq]));
const publisher = { actor: 'ada' };

async function callerOf(options: Parameters<typeof openServer>[0] = {}) {
  const server = await openServer(options);
  const caller = server.router.createCaller({ principal: everyone });
  const publish = (...events: Parameters<typeof server.bus.publish>[0]) => server.bus.publish(events, publisher);
  return { ...server, caller, publish };
}

describe('a subscription of a run', () => {
  test('[D1] a subscription from the start delivers the past, stream.live, then new events, each once and in order', async () => {
    await using server = await callerOf();
    await server.publish(created('r1'), created('other'), progress('r1', 10));
    const stream = await server.caller.onRunEvent({ runId: 'r1', from: 'start' });
    const { items } = await take(stream, (item) => {
      if (isLive(item)) void server.publish(created('other'), progress('r1', 20), progress('r1', 30));
      return item.type === 'stage.progress' && item.progress === 30;
    });
    expect(items.map((item) => item.type)).toEqual([
      'run.created',
      'stage.progress',
      'stream.live',
      'stage.progress',
      'stage.progress',
    ]);
    expect(seqs(items)).toEqual([1, 3, 5, 6]);
    expect(items[2]).toEqual({ type: 'stream.live', seq: 3 });
  });

  test('[D3] a subscription from now delivers stream.live at once and no past event', async () => {
    await using server = await callerOf();
    await server.publish(created('r1'), progress('r1', 10));
    const { items, cursors } = await take(await server.caller.onRunEvent({ runId: 'r1' }), (item) => {
      if (isLive(item)) void server.publish(progress('r1', 20));
      return item.type === 'stage.progress';
    });
    expect(items[0]).toEqual({ type: 'stream.live', seq: 2 });
    expect(seqs(items)).toEqual([3]);
    const { epoch } = server.log;
    expect(cursors.map((cursor) => decodeCursor(cursor))).toMatchObject([
      { epoch, seq: 2 },
      { epoch, seq: 3 },
    ]);
  });

  test('[D2] a subscription from the cursor of any item delivers the rest, without loss or repetition', async () => {
    await using server = await callerOf();
    await server.publish(created('r1'), ...Array.from({ length: 20 }, (_, i) => progress('r1', i)));
    const all = await take(await server.caller.onRunEvent({ runId: 'r1', from: 'start' }), isLive);
    expect(seqs(all.items)).toEqual(Array.from({ length: 21 }, (_, i) => i + 1));
    for (const [index, lastEventId] of all.cursors.entries()) {
      const rest = await take(await server.caller.onRunEvent({ runId: 'r1', from: 'start', lastEventId }), isLive);
      expect(seqs(rest.items)).toEqual(seqs(all.items.slice(index + 1)));
    }
  });

  test('[D1] the envelope has a gapless runSeq, and delivered events equal the logged ones', async () => {
    await using server = await callerOf();
    await server.publish(created('r1'), created('r2'), progress('r1', 1), progress('r2', 1), progress('r1', 2));
    const { items } = await take(await server.caller.onRunEvent({ runId: 'r1', from: 'start' }), isLive);
    const events = items.filter((item) => !isSignal(item));
    expect(events.map(({ runSeq }) => runSeq)).toEqual([1, 2, 3]);
    const history = await server.caller.run.history({ runId: 'r1' });
    expect(history.events).toEqual(events);
  });

  test('[D1] many subscriptions of every kind, started during 3,000 publishes, each deliver every match once', async () => {
    await using server = await callerOf();
    const count = 3_000;
    const runs = ['r0', 'r1', 'r2'];
    const read = async (stream: AsyncIterable<readonly [string, Item, ...unknown[]]>) =>
      (await take(stream, (item) => (isSignal(item) ? false : item.type === 'run.completed' && item.runId === 'end')))
        .items;
    const readers: Promise<Item[]>[] = [];
    for (let batch = 0; batch < count / 10; batch++) {
      await server.publish(...Array.from({ length: 10 }, (_, i) => progress(runs[(batch + i) % 3] as string, i)));
      if (batch % 30 === 0) {
        readers.push(read(await server.caller.onProjectEvent({ projectId: 'demo', from: 'start' })));
        readers.push(read(await server.caller.onEvent({ from: 'start' })));
      }
    }
    await server.publish({ type: 'run.completed', projectId: 'demo', runId: 'end' });
    for (const items of await Promise.all(readers)) {
      expect(seqs(items)).toEqual(Array.from({ length: count + 1 }, (_, i) => i + 1));
    }
  });

  test('[D2] a subscription resumed on a new server over the same log misses nothing', async () => {
    using folder = temporaryFolder();
    const databaseUrl = `file:${folder.path}/runwire.db`;
    let lastEventId: string | undefined;
    const seen: number[] = [];
    for (let round = 0; round < 4; round++) {
      await using server = await callerOf({ databaseUrl });
      await server.publish(progress('r1', round), progress('r1', round), progress('r1', round));
      const stream = await server.caller.onRunEvent({ runId: 'r1', from: 'start', lastEventId });
      const { items, cursors } = await take(stream, (_item, items) => items.length === (round < 3 ? 2 : 6));
      seen.push(...seqs(items));
      lastEventId = cursors.at(-1);
    }
    expect(seen).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
  });

  test('[D5] an invalid cursor ends the subscription with CURSOR_INVALID', async () => {
    await using server = await callerOf();
    const { epoch } = server.log;
    for (const lastEventId of [
      '',
      'CANARY',
      '1',
      `${epoch}`,
      `${epoch}.`,
      `${epoch}.-1`,
      `${epoch}.1.1`,
      `${epoch}.1e3`,
      ` ${epoch}.1`,
      `${epoch}.9999999999999999`,
      'CANARY.1',
      'x'.repeat(10_000),
    ]) {
      const stream = await server.caller.onRunEvent({ runId: 'r1', lastEventId });
      const failure = await take(stream, isLive).catch((error: unknown) => error);
      expect(failure, lastEventId).toMatchObject({ code: 'BAD_REQUEST', cause: { code: 'CURSOR_INVALID' } });
      expect(JSON.stringify(failure)).not.toContain('CANARY');
    }
    const summaries = await server.caller.onRunSummary({ lastEventId: 'CANARY' });
    await expect(take(summaries, isLive)).rejects.toMatchObject({ cause: { code: 'CURSOR_INVALID' } });
  });

  test('[D4] the four gaps carry their reason and range; their cursor is toSeq, and later events follow', async () => {
    await using server = await callerOf();
    await server.publish(created('r1'), progress('r1', 1), progress('r1', 2));
    const next = (item: Item) => {
      if (isLive(item)) void server.publish(progress('r1', 3));
      return item.type === 'stage.progress';
    };
    const ahead = await take(
      await server.caller.onRunEvent({ runId: 'r1', lastEventId: `${server.log.epoch}.99` }),
      next,
    );
    expect(ahead.items[0]).toEqual({ type: 'stream.gap', reason: 'ahead', fromSeq: 1, toSeq: 3 });
    expect(ahead.cursors[0]).toBe(await cursorAt(server.log, 3));
    expect(seqs(ahead.items)).toEqual([4]);

    const changed = await take(
      await server.caller.onRunEvent({ runId: 'r1', lastEventId: `${'0'.repeat(16)}.2` }),
      next,
    );
    expect(changed.items[0]).toEqual({ type: 'stream.gap', reason: 'epoch_changed', fromSeq: 1, toSeq: 4 });
    expect(seqs(changed.items)).toEqual([5]);

    await server.log.trim(Date.now() + 1_000);
    expect(server.log.oldest).toBe(5);
    await server.publish(progress('r1', 6));
    const expired = await take(
      await server.caller.onRunEvent({ runId: 'r1', lastEventId: `${server.log.epoch}.2` }),
      isLive,
    );
    expect(expired.items[0]).toEqual({ type: 'stream.gap', reason: 'expired', fromSeq: 3, toSeq: 4 });
    // The row of this position is trimmed: its hash is not compared.
    expect(expired.cursors[0]).toBe(`${server.log.epoch}.4`);
    expect(seqs(expired.items)).toEqual([5, 6]);
    // The fourth, access_changed, needs a socket: see tests/api/subscriptions.test.ts.
  });

  test('[D4] a cursor just before the oldest event gives no gap, and neither does the start of a trimmed log', async () => {
    await using server = await callerOf();
    await server.publish(...Array.from({ length: 5 }, (_, i) => progress('r1', i)));
    await server.log.trim(Date.now() + 1_000);
    for (const input of [{ lastEventId: `${server.log.epoch}.4` }, { from: 'start' as const }]) {
      const { items } = await take(await server.caller.onRunEvent({ runId: 'r1', ...input }), isLive);
      expect(items.map((item) => item.type)).toEqual(['stage.progress', 'stream.live']);
    }
  });

  test('[D4] a slow reader that retention overtakes receives a gap with its range, then the kept events', async () => {
    await using server = await callerOf();
    await server.publish(...Array.from({ length: 600 }, (_, i) => progress('r1', i % 100)));
    const stream = (await server.caller.onRunEvent({ runId: 'r1', from: 'start' }))[Symbol.asyncIterator]();
    const items: Item[] = [];
    for (let i = 0; i < 10; i++) items.push((await stream.next()).value[1]);
    await server.log.trim(Date.now() + 1_000);
    await server.publish(progress('r1', 1));
    while (!items.some(isLive)) items.push((await stream.next()).value[1]);
    await stream.return?.();
    const gap = items.find((item) => item.type === 'stream.gap');
    const before = seqs(items.slice(0, items.indexOf(gap as Item)));
    expect(before).toEqual(Array.from({ length: before.length }, (_, i) => i + 1));
    expect(gap).toEqual({ type: 'stream.gap', reason: 'expired', fromSeq: before.length + 1, toSeq: 599 });
    expect(seqs(items).slice(-2)).toEqual([600, 601]);
  });

  test('[D8] a subscription of an unknown run delivers stream.live, then the events of the run once it exists', async () => {
    await using server = await callerOf();
    await server.publish(created('other'));
    for (const [run, projectId] of [
      ['r1', undefined],
      ['r2', 'demo'],
    ] as const) {
      const { items } = await take(await server.caller.onRunEvent({ runId: run, projectId, from: 'start' }), (item) => {
        if (isLive(item)) void server.publish(created(run), progress(run, 5));
        return item.type === 'stage.progress';
      });
      expect(items.map((item) => item.type)).toEqual(['stream.live', 'run.created', 'stage.progress']);
    }
  });

  test('[D9] a run id without a project selects the one readable run, and is RUN_AMBIGUOUS with several', async () => {
    await using server = await callerOf();
    await server.publish(created('r1'), created('r1', { projectId: 'second' }));
    const only = server.router.createCaller({ principal: { sub: 'eve', projects: ['second'], roles: ['viewer'] } });
    const { items } = await take(await only.onRunEvent({ runId: 'r1', from: 'start' }), isLive);
    expect(seqs(items)).toEqual([2]);
    await expect(take(await server.caller.onRunEvent({ runId: 'r1', from: 'start' }), isLive)).rejects.toMatchObject({
      cause: { code: 'RUN_AMBIGUOUS', path: 'projectId' },
    });
    await expect(server.caller.run.get({ runId: 'r1' })).rejects.toMatchObject({ cause: { code: 'RUN_AMBIGUOUS' } });
    await expect(server.caller.run.history({ runId: 'r1' })).rejects.toMatchObject({
      cause: { code: 'RUN_AMBIGUOUS' },
    });
    expect((await server.caller.run.get({ runId: 'r1', projectId: 'second' })).run.lastSeq).toBe(2);
  });

  test('[D13] a caller that breaks, returns or aborts at any point leaves no waiting reader', async () => {
    await using server = await callerOf();
    await server.publish(created('r1'));
    const controller = new AbortController();
    const abortable = server.router.createCaller({ principal: everyone }, { signal: controller.signal });
    const stream = (await abortable.onRunEvent({ runId: 'r1' }))[Symbol.asyncIterator]();
    expect((await stream.next()).value[1].type).toBe('stream.live');
    const waiting = stream.next();
    controller.abort();
    expect(await waiting).toMatchObject({ done: true });
    expect(await stream.next()).toMatchObject({ done: true });

    const returned = (await server.caller.onRunEvent({ runId: 'r1' }))[Symbol.asyncIterator]();
    await returned.next();
    const quiet = returned.next();
    await returned.return?.();
    expect(await quiet).toMatchObject({ done: true });
  });
});

describe('filters', () => {
  const all = async (server: Awaited<ReturnType<typeof callerOf>>) => {
    await server.publish(
      created('r1'),
      { type: 'stage.started', projectId: 'demo', runId: 'r1', stageId: 's1' },
      progress('r1', 10),
      { type: 'artifact.created', projectId: 'demo', runId: 'r1', artifactId: 'a', name: 'a.txt' },
      { type: 'governance.required', projectId: 'demo', runId: 'r1', approvalId: 'g', title: 'Go' },
      // Not its end: the server would deny the approval, at any moment.
      { type: 'run.started', projectId: 'demo', runId: 'r1' },
    );
  };

  test('[D6] types and categories select the union of both', async () => {
    await using server = await callerOf();
    await all(server);
    const read = async (filter: Omit<Parameters<typeof server.caller.onEvent>[0] & object, 'from'>) =>
      seqs((await take(await server.caller.onEvent({ from: 'start', ...filter }), isLive)).items);
    expect(await read({})).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await read({ types: ['run.created', 'run.started'] })).toEqual([1, 6]);
    expect(await read({ categories: ['stage'] })).toEqual([2, 3]);
    expect(await read({ categories: ['governance'], types: ['artifact.created'] })).toEqual([4, 5]);
    expect(await read({ types: [] })).toEqual([]);
    expect(
      (await server.caller.run.history({ runId: 'r1', types: ['stage.progress'] })).events.map(({ seq }) => seq),
    ).toEqual([3]);
  });

  test('[D6] filters select old events and live events alike', async () => {
    await using server = await callerOf();
    const { items } = await take(await server.caller.onEvent({ types: ['run.started'] }), (item) => {
      if (isLive(item)) void all(server);
      return item.type === 'run.started';
    });
    expect(items.map((item) => item.type)).toEqual(['stream.live', 'run.started']);
  });

  test('[D6] an unknown type or category is an error that does not repeat the value', async () => {
    await using server = await callerOf();
    for (const filter of [
      { types: ['CANARY'] },
      { categories: ['CANARY'] },
      { types: 'CANARY' },
      { type: ['run.created'] },
    ]) {
      const failure = await Promise.resolve()
        // @ts-expect-error not a type of the registry
        .then(() => server.caller.onEvent(filter))
        .catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'BAD_REQUEST' });
    }
  });
});

describe('scopes', () => {
  test('[E1] a caller cannot name a run or a project by a path segment, nor all projects by `*`', async () => {
    await using server = await openServer();
    const caller = server.router.createCaller({ principal: everyone });
    for (const id of ['.', '..', '*']) {
      for (const run of [
        { projectId: 'demo', runId: id },
        { projectId: id, runId: 'r1' },
      ]) {
        const calls = [
          caller.run.get(run),
          caller.run.history(run),
          caller.event.search(run),
          caller.approval.grant({ ...run, approvalId: 'a' }),
          caller.audit.access(run),
          caller.event.publish({ events: [created(run.runId, run)] }),
          (async () => {
            for await (const _ of await caller.onRunEvent(run)) return;
          })(),
        ];
        for (const call of calls) {
          const error = (await call.catch((reason: unknown) => reason)) as { cause?: { code?: string } };
          expect(error.cause?.code).toMatch(/^INVALID_(INPUT|EVENT)$/);
        }
      }
    }
    expect(server.log.head).toBe(0);
  });

  test('[D10] onUserEvent delivers the events of a user: audience, approvers, and own runs', async () => {
    await using server = await callerOf();
    await server.publish(
      created('mine', { createdBy: 'ada' }),
      created('theirs', { createdBy: 'eve' }),
      progress('mine', 10),
      progress('theirs', 10),
      progress('theirs', 20, { audience: ['eve', 'ada'] }),
      {
        type: 'governance.required',
        projectId: 'demo',
        runId: 'theirs',
        approvalId: 'g',
        title: 'Go',
        approvers: ['ada'],
      },
      created('hidden', { projectId: 'secret', audience: ['ada'] }),
      created('foisted', { projectId: 'secret', createdBy: 'ada' }),
    );
    const read = async (projects: string[]) => {
      const caller = server.router.createCaller({ principal: { sub: 'ada', projects, roles: allRoles } });
      return seqs((await take(await caller.onUserEvent({ from: 'start' }), isLive)).items);
    };
    expect(await read(['*'])).toEqual([1, 3, 5, 6, 7, 8]);
    // The audience and the creator route events. They grant no access.
    expect(await read(['demo'])).toEqual([1, 3, 5, 6]);
    expect(await read([])).toEqual([]);
  });

  test('[D10] onEvent delivers every readable event and onProjectEvent one project, old and new alike', async () => {
    await using server = await callerOf();
    const mixed = ['a', 'b', 'c'].map((projectId) => created('r1', { projectId }));
    await server.publish(...mixed);
    const principal = { sub: 'eve', projects: ['a', 'c'], roles: allRoles };
    const caller = server.router.createCaller({ principal });
    let isSent = false;
    const until = (last: number) => (item: Item) => {
      if (isLive(item) && !isSent) {
        isSent = true;
        void server.publish(...mixed);
      }
      return !isSignal(item) && item.seq === last;
    };
    const readable = await take(await caller.onEvent({ from: 'start' }), until(6));
    expect(seqs(readable.items)).toEqual([1, 3, 4, 6]);
    expect(seqs((await take(await caller.onProjectEvent({ projectId: 'c', from: 'start' }), isLive)).items)).toEqual([
      3, 6,
    ]);
    expect(seqs((await take(await caller.onProjectEvent({ projectId: 'b', from: 'start' }), isLive)).items)).toEqual(
      [],
    );
  });
});

describe('stream.live', () => {
  test('[D3] when the head advances without a match, stream.live reports it after the quiet interval', async () => {
    await using server = await callerOf({ quietMs: 50 });
    await server.publish(created('r1'));
    const { items, cursors } = await take(await server.caller.onRunEvent({ runId: 'r1' }), (_item, items) => {
      if (items.length === 1) void server.publish(created('other'), created('another'));
      return items.length === 2;
    });
    expect(items).toEqual([
      { type: 'stream.live', seq: 1 },
      { type: 'stream.live', seq: 3 },
    ]);
    expect(cursors[1]).toBe(await cursorAt(server.log, 3));
  });

  test('[D3] an unchanged head sends no stream.live', async () => {
    await using server = await callerOf({ quietMs: 20 });
    await server.publish(created('r1'));
    const quiet = (await server.caller.onRunEvent({ runId: 'r1' }))[Symbol.asyncIterator]();
    await quiet.next();
    const second = quiet.next();
    // Another subscription receives three signals in the meantime; then the first one matches.
    await take(await server.caller.onRunEvent({ runId: 'unknown' }), (_item, items) => {
      if (items.length < 3) void server.publish(progress('r1', items.length));
      return items.length === 3;
    });
    expect((await second).value[1]).toMatchObject({ type: 'stage.progress', progress: 1 });
    await quiet.return?.();
  });
});

describe('snapshots', () => {
  test('[Q1] a subscription from the cursor of run.get loses nothing, and its fold equals the view', async () => {
    await using server = await callerOf();
    const drafts = Array.from({ length: 400 }, (_, i) =>
      progress('r1', i % 101, { stageId: `s${i % 7}`, message: `at ${i}` }),
    );
    await server.publish(created('r1'));
    const publishing = (async () => {
      for (const draft of drafts) await server.publish(draft);
      await server.publish({ type: 'run.completed', projectId: 'demo', runId: 'r1', summary: 'done' });
    })();
    for (let round = 0; round < 10; round++) {
      const { run, cursor } = await server.caller.run.get({ runId: 'r1' });
      const memory = new RunMemory(run);
      const stream = await server.caller.onRunEvent({ runId: 'r1', lastEventId: cursor });
      const { items } = await take(stream, (item) => item.type === 'run.completed' || (round < 9 && isLive(item)));
      for (const item of items) if (!isSignal(item)) foldEvent(memory, item);
      const runSeqs = items.flatMap((item) => (isSignal(item) ? [] : [item.runSeq]));
      expect(runSeqs).toEqual(runSeqs.map((_, i) => run.lastRunSeq + 1 + i));
      if (round === 9) {
        await publishing;
        expect(memory.view()).toEqual((await server.caller.run.get({ runId: 'r1' })).run);
      }
    }
  });

  test('[Q1] an absent run is RUN_NOT_FOUND, with or without a project', async () => {
    await using server = await callerOf();
    for (const input of [{ runId: 'CANARY' }, { runId: 'CANARY', projectId: 'demo' }]) {
      await expect(server.caller.run.get(input)).rejects.toMatchObject({
        code: 'NOT_FOUND',
        message: 'no such run',
        cause: { code: 'RUN_NOT_FOUND' },
      });
    }
  });

  test('[Q2] run.list pages headers, newest first, and onRunSummary continues at its position', async () => {
    await using server = await callerOf();
    for (let i = 0; i < 7; i++) await server.publish(created(`r${i}`, { timestamp: `2026-01-01T00:00:0${i}Z` }));
    const first = await server.caller.run.list({ limit: 4 });
    expect(first.runs.map(({ runId }) => runId)).toEqual(['r6', 'r5', 'r4', 'r3']);
    expect(first.runs[0]).not.toHaveProperty('stages');
    const second = await server.caller.run.list({ limit: 4, cursor: first.nextCursor });
    expect(second.runs.map(({ runId }) => runId)).toEqual(['r2', 'r1', 'r0']);
    expect(second).not.toHaveProperty('nextCursor');

    await server.publish(progress('r2', 50));
    const { items } = await take(await server.caller.onRunSummary({ lastEventId: first.position }), isLive);
    expect(items).toMatchObject([{ runId: 'r2', progress: 50, status: 'running' }, { type: 'stream.live' }]);
    expect((await server.caller.run.list({ status: ['running'] })).runs.map(({ runId }) => runId)).toEqual(['r2']);
    expect((await server.caller.run.list({ text: 'RUN R3' })).runs.map(({ runId }) => runId)).toEqual(['r3']);
    await expect(server.caller.run.list({ cursor: 'CANARY' })).rejects.toMatchObject({
      cause: { code: 'CURSOR_INVALID' },
    });
  });

  test('[Q2] needsMyDecision lists exactly the runs that wait for the caller', async () => {
    await using server = await callerOf();
    const request = (runId: string, more: object = {}) => ({
      type: 'governance.required' as const,
      projectId: 'demo',
      runId,
      approvalId: 'g',
      title: 'Go',
      ...more,
    });
    await server.publish(
      request('any'),
      request('named', { approvers: ['eve'] }),
      request('other', { approvers: ['bob'] }),
    );
    await server.publish(
      request('own', { requestedBy: 'eve' }),
      request('lead', { requiredRole: 'admin' }),
      created('plain'),
    );
    const list = async (principal: Principal) =>
      (await server.router.createCaller({ principal }).run.list({ needsMyDecision: true })).runs
        .map(({ runId }) => runId)
        .sort();
    expect(await list({ sub: 'eve', projects: ['*'], roles: ['approver'] })).toEqual(['any', 'named']);
    expect(await list({ sub: 'eve', projects: ['*'], roles: ['viewer'] })).toEqual([]);
    expect(await list({ sub: 'eve', projects: [], roles: ['approver'] })).toEqual([]);
    expect(await list({ sub: 'ada', projects: ['*'], roles: allRoles })).toEqual([]); // the requester may not decide
  });

  test('[G3] onRunSummary with needsMyDecision states for each run whether it waits for the caller', async () => {
    await using server = await callerOf();
    const request = (runId: string, more: object = {}) => ({
      type: 'governance.required' as const,
      projectId: 'demo',
      runId,
      approvalId: 'g',
      title: 'Go',
      ...more,
    });
    await server.publish(request('any', { requiredApprovals: 2 }), request('other', { approvers: ['bob'] }));
    await server.publish(created('plain'));
    const eve = { sub: 'eve', projects: ['*'], roles: ['approver'] } satisfies Principal;
    const caller = server.router.createCaller({ principal: eve });
    const summaries = async (input: object = {}) => {
      const { items } = await take(
        await caller.onRunSummary({ from: 'start', needsMyDecision: true, ...input }),
        isLive,
      );
      return items.flatMap((item) => ('runId' in item ? [[item.runId, item.needsMyDecision]] : []));
    };
    const expected = [
      ['any', true],
      ['other', false],
      ['plain', false],
    ];
    expect(await summaries()).toEqual(expected);
    expect(await summaries({ projectId: 'demo' })).toEqual(expected);
    expect((await summaries({ needsMyDecision: false })).map(([, isMine]) => isMine)).toEqual(
      expected.map(() => undefined),
    );
    // One of two grants: the run still waits, and no longer for this caller.
    await caller.approval.grant({ runId: 'any', approvalId: 'g' });
    expect(Object.fromEntries(await summaries())).toMatchObject({ any: false });
  });

  test('[Q3] run.history pages the events oldest first, each once', async () => {
    await using server = await callerOf();
    for (let i = 0; i < 25; i++) await server.publish(progress('r1', i), created(`noise${i}`));
    const seen: number[] = [];
    let cursor: string | undefined;
    do {
      const page = await server.caller.run.history({ runId: 'r1', limit: 7, cursor });
      seen.push(...page.events.map(({ runSeq }) => runSeq));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    expect(seen).toEqual(Array.from({ length: 25 }, (_, i) => i + 1));
    for (const wrong of ['CANARY', `${'0'.repeat(16)}.1`]) {
      await expect(server.caller.run.history({ runId: 'r1', cursor: wrong })).rejects.toMatchObject({
        cause: { code: 'CURSOR_INVALID' },
      });
    }
  });

  test('[Q14] run.history starts at any event of the run, whatever else the log contains', async () => {
    await using server = await callerOf();
    for (let i = 1; i <= 60; i++) {
      const noise = Array.from({ length: (i * 7) % 11 }, (_, n) => progress(`noise${n}`, i));
      await server.publish(progress('r1', i), ...noise);
    }
    const from = async (fromRunSeq: number, more: object = {}) =>
      (await server.caller.run.history({ runId: 'r1', fromRunSeq, limit: 3, ...more })).events.map(
        ({ runSeq }) => runSeq,
      );
    for (let runSeq = 1; runSeq <= 60; runSeq++) {
      expect(await from(runSeq)).toEqual([runSeq, runSeq + 1, runSeq + 2].filter((one) => one <= 60));
    }
    expect(await from(61)).toEqual([]);
    expect(await from(1_000_000)).toEqual([]);
    await expect(from(0)).rejects.toMatchObject({ code: 'BAD_REQUEST' });

    const { nextCursor } = await server.caller.run.history({ runId: 'r1', fromRunSeq: 20, limit: 3 });
    expect(await from(20, { cursor: nextCursor })).toEqual([23, 24, 25]);
  });

  test('[Q14] a page of history costs a few reads of one row, wherever it starts', async () => {
    await using server = await callerOf();
    for (let i = 0; i < 40; i++) {
      await server.publish(progress('r1', i), ...Array.from({ length: 99 }, (_, n) => progress('noise', n)));
    }
    const { read } = server.log;
    let records = 0;
    server.log.read = async (query) => {
      const page = await read.call(server.log, query);
      records += page.records.length;
      return page;
    };
    const { events } = await server.caller.run.history({ runId: 'r1', fromRunSeq: 33, limit: 5 });
    expect(events.map(({ runSeq }) => runSeq)).toEqual([33, 34, 35, 36, 37]);
    expect(records).toBeLessThanOrEqual(5 + Math.ceil(Math.log2(4_000)));
  });

  test('[Q14] from a trimmed event, history starts at the oldest kept one', async () => {
    await using server = await callerOf();
    for (let i = 1; i <= 5; i++) await server.publish(progress('noise', i), progress('r1', i));
    await server.log.trim(Date.now() + 60_000); // Trimming always keeps the newest event.
    for (let i = 6; i <= 8; i++) await server.publish(progress('r1', i), progress('noise', i));
    for (const fromRunSeq of [1, 2, 5]) {
      const { events } = await server.caller.run.history({ runId: 'r1', fromRunSeq });
      expect(events.map(({ runSeq }) => runSeq)).toEqual([5, 6, 7, 8]);
    }
  });

  test('[Q4] event.publish stores all events or none, and returns the stored positions', async () => {
    await using server = await callerOf();
    const events = [created('r1', { eventId: 'a' }), progress('r1', 1, { eventId: 'b' })];
    expect(await server.caller.event.publish({ events })).toEqual({ accepted: 2, duplicates: 0, seq: 2 });
    await server.publish(created('r2'));
    expect(await server.caller.event.publish({ events: [...events, progress('r1', 2)] })).toEqual({
      accepted: 1,
      duplicates: 2,
      seq: 4,
    });
    expect(await server.caller.event.publish({ events })).toEqual({ accepted: 0, duplicates: 2, seq: 2 });
    const wrong = [progress('r1', 3), progress('r1', 300)];
    await expect(server.caller.event.publish({ events: wrong })).rejects.toMatchObject({
      code: 'UNPROCESSABLE_CONTENT',
      cause: { code: 'INVALID_EVENT', path: 'events.1.progress' },
    });
    expect(server.log.head).toBe(4);
    await expect(server.caller.event.publish({ events: [] })).rejects.toMatchObject({ cause: expect.anything() });
  });
});

test('[L12] a filter by a label that no run can have is refused, and does not match every run', async () => {
  const server = await openServer();
  onTestFinished(() => server.close());
  await server.bus.publish([created('r1', { labels: { team: 'ops' } })], { actor: 'ci' });
  const caller = server.router.createCaller({ principal: everyone });
  const labels = JSON.parse('{"__proto__":"x"}');
  await expect(caller.run.list({ labels })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  expect((await caller.run.list({ labels: { team: 'ops' } })).runs).toHaveLength(1);
});
