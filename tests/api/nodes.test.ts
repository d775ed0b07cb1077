import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { decodeCursor, encodeCursor } from '../../server/event-log/cursor.ts';
import {
  created,
  everyone,
  isLive,
  openServer,
  progress,
  startServer,
  take,
  tokenFor,
  Wire,
} from '../support/harness.ts';
import { lag } from '../support/node-of-log.ts';

/** Calls on a node that is behind its log, or that has lost it. */

const publisher = { actor: 'ci' };
type Server = Awaited<ReturnType<typeof openServer>>;
const callerOf = (server: Server) => server.router.createCaller({ principal: everyone });

/** Whether a promise is pending after the work that can be done without the position. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let isSettled = false;
  const settle = () => {
    isSettled = true;
  };
  promise.then(settle, settle);
  for (let turn = 0; turn < 50; turn++) await setImmediate();
  return !isSettled;
}

async function withEvents(): Promise<Server & { cursors: string[] }> {
  const server = await openServer();
  await server.bus.publish([created('r1'), progress('r1', 1), progress('r1', 2), progress('r1', 3)], publisher);
  const { cursors } = await take(await callerOf(server).onEvent({ from: 'start' }), isLive);
  return { ...server, cursors };
}

describe('[D36] run.get with atLeast', () => {
  test('waits until the node has the position of the cursor', async () => {
    await using server = await withEvents();
    const caught = lag(server.log, 1);
    const atLeast = server.cursors[3] as string;
    const answer = callerOf(server).run.get({ runId: 'r1', atLeast });
    expect(await isPending(answer)).toBe(true);
    caught();
    const { run, cursor } = await answer;
    expect([run.lastSeq, decodeCursor(cursor).seq]).toEqual([4, 4]);
    const known = await callerOf(server).run.get({ runId: 'r1', atLeast: server.cursors[0] as string });
    expect(known.run.lastSeq).toBe(4);
  });

  test('is UNAVAILABLE for a position that the log does not have, and CURSOR_INVALID for any other text', async () => {
    await using server = await withEvents();
    const { epoch } = server.log;
    const ask = (atLeast: string) => callerOf(server).run.get({ runId: 'r1', atLeast });
    const unavailable = { cause: { code: 'UNAVAILABLE' } };
    await expect(ask(encodeCursor(epoch, { seq: 5 }))).rejects.toMatchObject(unavailable);
    await expect(ask(encodeCursor('abc', { seq: 1 }))).rejects.toMatchObject(unavailable);
    await expect(ask('x')).rejects.toMatchObject({ cause: { code: 'CURSOR_INVALID' } });
  });
});

describe('[D30] on a node that is behind', () => {
  test('a page goes on after the cursor of another node, once this node has its position', async () => {
    await using server = await withEvents();
    const { nextCursor: cursor } = await callerOf(server).run.history({ runId: 'r1', limit: 3 });
    const caught = lag(server.log, 1);
    const page = callerOf(server).run.history({ runId: 'r1', limit: 3, cursor });
    expect(await isPending(page)).toBe(true);
    caught();
    expect((await page).events.map(({ seq }) => seq)).toEqual([4]);
  });

  test('a cursor beyond the log is CURSOR_INVALID', async () => {
    await using server = await withEvents();
    const cursor = encodeCursor(server.log.epoch, { seq: 9 });
    const page = callerOf(server).run.history({ runId: 'r1', limit: 3, cursor });
    await expect(page).rejects.toMatchObject({ cause: { code: 'CURSOR_INVALID' } });
  });

  test('an event and a past state of a run are found once the node has them', async () => {
    await using server = await withEvents();
    const caught = lag(server.log, 1);
    const caller = callerOf(server);
    const found = [caller.event.get({ seq: 4 }), caller.run.at({ runId: 'r1', runSeq: 3 })] as const;
    for (const answer of found) expect(await isPending(answer)).toBe(true);
    caught();
    const [event, { run }] = await Promise.all(found);
    expect([event.seq, run.lastRunSeq]).toEqual([4, 3]);
    await expect(caller.event.get({ seq: 5 })).rejects.toMatchObject({ cause: { code: 'EVENT_NOT_FOUND' } });
  });

  test('a decision waits for the last event of its run, from which the number of the seen event follows', async () => {
    await using server = await withEvents();
    const request = {
      type: 'governance.required',
      projectId: 'demo',
      runId: 'r1',
      approvalId: 'a',
      title: 't',
    } as const;
    await server.bus.publish([request, progress('r1', 4)], { actor: 'ci', isTrusted: true });
    const caught = lag(server.log, 5);
    const grant = callerOf(server).approval.grant({ runId: 'r1', approvalId: 'a', seenSeq: 5 });
    expect(await isPending(grant)).toBe(true);
    caught();
    expect(await grant).toMatchObject({ status: 'granted', decisions: [{ seenSeq: 5, seenRunSeq: 5 }] });
  });

  test('a decision waits for the position that its decider has seen', async () => {
    await using server = await withEvents();
    const request = {
      type: 'governance.required',
      projectId: 'demo',
      runId: 'r1',
      approvalId: 'a',
      title: 't',
    } as const;
    await server.bus.publish([request], { actor: 'ci', isTrusted: true });
    const caught = lag(server.log, 1);
    const grant = callerOf(server).approval.grant({ runId: 'r1', approvalId: 'a', seenSeq: 5 });
    expect(await isPending(grant)).toBe(true);
    caught();
    expect(await grant).toMatchObject({ status: 'granted', decisions: [{ decidedBy: 'ada' }] });
    const beyond = callerOf(server).approval.grant({ runId: 'r1', approvalId: 'a', seenSeq: 99 });
    await expect(beyond).rejects.toMatchObject({ cause: { code: 'INVALID_INPUT' } });
  });
});

test('[D38] the lists of the events of a run have every event that was acknowledged before the call', async () => {
  await using server = await withEvents();
  const caught = lag(server.log, 1);
  const caller = callerOf(server);
  const answers = [
    caller.run.history({ runId: 'r1' }),
    caller.run.history({ runId: 'r1', text: 'stage' }),
    caller.run.positions({ runId: 'r1' }),
    caller.run.counts({ runId: 'r1' }),
  ] as const;
  for (const answer of answers) expect(await isPending(answer)).toBe(true);
  caught();
  const [history, , positions, counts] = await Promise.all(answers);
  expect(history.events).toHaveLength(4);
  expect(history.nextCursor).toBeUndefined();
  expect(positions.through).toBe(4);
  expect([counts.through, counts.isComplete]).toEqual([4, true]);
});

test('[D33] a list of events that was read before an erasure is read again', async () => {
  await using server = await openServer();
  await server.bus.publish([created('r1')], publisher);
  const { log } = server;
  const { read, scan } = log;
  const caller = callerOf(server);
  let due: number | undefined;
  const eraseDue = async <T>(page: T): Promise<T> => {
    const seq = due;
    due = undefined;
    if (seq !== undefined) await caller.audit.erase({ seq, reason: 'asked for' });
    return page;
  };
  log.read = (query) => read.call(log, query).then(eraseDue);
  log.scan = (query) => scan.call(log, query).then(eraseDue);
  const asks = [
    () => caller.run.history({ runId: 'r1' }),
    () => caller.run.history({ runId: 'r1', stageId: 's1' }),
    (seq: number) => caller.event.get({ seq }),
  ];
  for (const ask of asks) {
    const { seq } = await server.bus.publish([progress('r1', 1, { message: 'Jane Doe' })], publisher);
    due = seq;
    const answer = await ask(seq);
    expect(due).toBeUndefined();
    expect(JSON.stringify(answer)).toContain('erased');
    expect(JSON.stringify(answer)).not.toContain('Jane Doe');
  }
});

describe('[D35] [M49] while the node is not current', () => {
  test('every call is UNAVAILABLE over HTTP and WebSocket, and works again afterwards', async () => {
    await using server = await startServer();
    await server.bus.publish([created('r1')], publisher);
    const token = await tokenFor();
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const input = encodeURIComponent(JSON.stringify({ runId: 'r1' }));
    const calls = () =>
      Promise.all([
        fetch(`${server.url}/trpc/run.get?input=${input}`, { headers }),
        fetch(`${server.url}/api/v1/export`, { headers }),
        fetch(`${server.url}/api/v1/events`, { method: 'POST', headers, body: JSON.stringify(progress('r1', 1)) }),
      ]);
    await using wire = await Wire.open(server.url, { token });
    const { log } = server;
    Object.assign(log, { isCurrent: false });
    for (const answer of await calls()) {
      expect([answer.status, await answer.text()]).toEqual([503, expect.stringContaining('UNAVAILABLE')]);
    }
    const ready = await fetch(`${server.url}/readyz`);
    expect([ready.status, await ready.json()]).toMatchObject([503, { problems: { log: expect.any(String) } }]);
    const refused = await wire.call('query', 'run.get', { runId: 'r1' });
    expect(refused.error?.data).toMatchObject({ runwireCode: 'UNAVAILABLE' });
    await expect(callerOf(server).auth.me()).rejects.toMatchObject({ cause: { code: 'UNAVAILABLE' } });
    Object.assign(log, { isCurrent: true });
    expect((await calls()).map(({ status }) => status)).toEqual([200, 200, 200]);
    expect((await wire.call('query', 'run.get', { runId: 'r1' })).error).toBeUndefined();
  });
});
