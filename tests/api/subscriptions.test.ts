import { type EventEmitter, once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { cursorAt } from '../../server/event-log/cursor.ts';
import { RunwireError } from '../../shared/errors.ts';
import type { RunEvent } from '../../shared/events.ts';
import { isSignal } from '../../shared/protocol.ts';
import type { AppRouter } from '../../shared/router.ts';
import type { RunHeader, RunView } from '../../shared/run.ts';
import {
  created,
  everyone,
  type Item,
  isLive,
  isOnThree,
  openServer,
  progress,
  startServer as start,
  take,
  temporaryFolder,
  tokenFor,
  Wire,
} from '../support/harness.ts';

const publisher = { actor: 'ada' };
const events = (items: Item[]) => items.filter((item): item is RunEvent => !isSignal(item));
const seqs = (items: Item[]) => events(items).map(({ seq }) => seq);
const unavailable = () => new RunwireError('UNAVAILABLE', 'the event log failed');
const upwards = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe.each(['direct', 'iterator'] as const)('delivery: %s', (delivery) => {
  const startServer = (options: Parameters<typeof start>[0] = {}) => start({ delivery, ...options });

  describe('over a socket', () => {
    test('[D1] replay and tail are complete and in order, each item with its cursor', async () => {
      await using server = await startServer();
      await server.bus.publish([created('r1'), progress('r1', 1)], publisher);
      await using wire = await Wire.open(server.url);
      const stream = wire.subscribe('onRunEvent', { runId: 'r1', from: 'start' });
      await stream.until(isLive);
      for (let i = 2; i <= 20; i++) await server.bus.publish([progress('r1', i)], publisher);
      const items = await stream.until((item) => item.type === 'stage.progress' && item.progress === 20);
      expect(seqs(items)).toEqual(upwards(1, 21));
      expect(stream.messages[0]?.result).toEqual({ type: 'started' });
      for (const { id, data } of stream.tracked) {
        if (data.type !== 'stream.gap') expect(id).toBe(await cursorAt(server.log, data.seq));
      }
    });

    test('[D2] a subscription with lastEventId, in the message or in the input, continues after it', async () => {
      await using server = await startServer();
      await server.bus.publish([created('r1'), progress('r1', 1), progress('r1', 2)], publisher);
      await using wire = await Wire.open(server.url);
      const cursor = `${server.log.epoch}.1`;
      const byMessage = wire.subscribe('onRunEvent', { runId: 'r1', from: 'start' }, cursor);
      const byInput = wire.subscribe('onRunEvent', { runId: 'r1', lastEventId: cursor });
      const withoutInput = wire.subscribe('onEvent', undefined, cursor);
      for (const stream of [byMessage, byInput, withoutInput]) expect(seqs(await stream.until(isLive))).toEqual([2, 3]);
    });

    test('[D5] an invalid cursor ends its subscription only', async () => {
      await using server = await startServer();
      await using wire = await Wire.open(server.url);
      const good = wire.subscribe('onEvent', {});
      const error = await wire.subscribe('onEvent', {}, 'CANARY').error();
      expect(error.data).toMatchObject({ runwireCode: 'CURSOR_INVALID', field: 'lastEventId' });
      expect(wire.texts.join()).not.toContain('CANARY');
      await server.bus.publish([created('r1')], publisher);
      await good.until((item) => item.type === 'run.created');
    });

    test('[D6] an unknown type in a filter is an error that does not repeat the value', async () => {
      await using server = await startServer();
      await using wire = await Wire.open(server.url);
      const error = await wire.subscribe('onEvent', { types: ['CANARY'] }).error();
      expect(error.data).toMatchObject({ runwireCode: 'INVALID_INPUT', field: 'types.0' });
      expect(wire.texts.join()).not.toContain('CANARY');
    });

    test('[D9] RUN_AMBIGUOUS names projectId', async () => {
      await using server = await startServer();
      await server.bus.publish([created('r1'), created('r1', { projectId: 'second' })], publisher);
      await using wire = await Wire.open(server.url);
      const error = await wire.subscribe('onRunEvent', { runId: 'r1', from: 'start' }).error();
      expect(error.data).toMatchObject({ runwireCode: 'RUN_AMBIGUOUS', field: 'projectId' });
    });

    test('[D9] at the head of the log, RUN_AMBIGUOUS is sent without a further event', async () => {
      await using server = await startServer();
      await server.bus.publish([created('r1'), created('r1', { projectId: 'second' })], publisher);
      await using wire = await Wire.open(server.url, { token: await tokenFor({ projects: ['demo'] }) });
      await using other = await Wire.open(server.url);
      const cursor = await cursorAt(server.log, 2);
      const one = wire.subscribe('onRunEvent', { runId: 'r1' });
      const none = wire.subscribe('onRunEvent', { runId: 'r2' });
      for (const stream of [one, none]) await stream.until(isLive);
      for (const input of [{}, { from: 'now' }, { lastEventId: cursor }, { lastEventId: `${server.log.epoch}.9` }]) {
        const error = await other.subscribe('onRunEvent', { runId: 'r1', ...input }).error();
        expect(error.data).toMatchObject({ runwireCode: 'RUN_AMBIGUOUS', field: 'projectId' });
      }
      await server.bus.publish([progress('r1', 1), created('r2')], publisher);
      for (const stream of [one, none]) await stream.until((item) => 'runId' in item);
      expect([one, none].map(({ items }) => seqs(items))).toEqual([[3], [4]]);
    });

    test('[D4] auth.refresh with more rights sends access_changed, and newly readable events follow', async () => {
      await using server = await startServer();
      await server.bus.publish([created('r1', { projectId: 'second' }), created('r2')], publisher);
      await using wire = await Wire.open(server.url, { token: await tokenFor({ projects: ['demo'] }) });
      const all = wire.subscribe('onEvent', { from: 'start' });
      const hidden = wire.subscribe('onRunEvent', { runId: 'r1', from: 'start' });
      const named = wire.subscribe('onRunEvent', { runId: 'r1', projectId: 'second', from: 'start' });
      const own = wire.subscribe('onRunEvent', { runId: 'r2', projectId: 'demo', from: 'start' });
      for (const stream of [all, hidden, named, own]) await stream.until(isLive);
      expect([all, hidden, named, own].map(({ items }) => seqs(items))).toEqual([[2], [], [], [2]]);

      const answer = await wire.call('mutation', 'auth.refresh', { token: await tokenFor({ projects: ['*'] }) });
      expect(answer.result).toBeDefined();
      for (const stream of [all, hidden, named]) {
        const items = await stream.until((item) => item.type === 'stream.gap');
        const gap = { type: 'stream.gap', reason: 'access_changed', fromSeq: 1, toSeq: 2 };
        expect(items.find((item) => item.type === 'stream.gap')).toEqual(gap);
      }
      await server.bus.publish([progress('r1', 5, { projectId: 'second' }), progress('r2', 5)], publisher);
      await hidden.until((item) => item.type === 'stage.progress');
      await named.until((item) => item.type === 'stage.progress');
      await own.until((item) => item.type === 'stage.progress');
      await all.until((item) => item.type === 'stage.progress' && item.runId === 'r2');
      expect(own.items.map((item) => item.type)).not.toContain('stream.gap');
      expect(seqs(all.items)).toEqual([2, 3, 4]);
    });

    test('[G3] auth.refresh with other roles sends access_changed to a reader of the decisions that wait for the caller', async () => {
      await using server = await startServer();
      await server.bus.publish([created('r1')], publisher);
      await using wire = await Wire.open(server.url, { token: await tokenFor({ roles: ['viewer'] }) });
      const mine = wire.subscribe('onRunSummary', { needsMyDecision: true });
      const all = wire.subscribe('onRunSummary');
      for (const stream of [mine, all]) await stream.until(isLive);
      await wire.call('mutation', 'auth.refresh', { token: await tokenFor({ roles: ['viewer', 'approver'] }) });
      const items = await mine.until((item) => item.type === 'stream.gap');
      expect(items.find((item) => item.type === 'stream.gap')).toMatchObject({ reason: 'access_changed' });
      await server.bus.publish([created('r2')], publisher);
      await all.until((item) => 'runId' in item && item.runId === 'r2');
      expect(all.items.map((item) => item.type)).not.toContain('stream.gap');
    });

    test('[D4] auth.refresh with fewer projects sends access_changed to readers of all projects, after what they may still read', async () => {
      await using server = await startServer();
      await server.bus.publish([created('r1'), created('r2', { projectId: 'second' })], publisher);
      await using wire = await Wire.open(server.url, { token: await tokenFor({ projects: ['demo', 'second'] }) });
      const [events, runs] = [wire.subscribe('onEvent'), wire.subscribe('onRunSummary')];
      const own = wire.subscribe('onProjectEvent', { projectId: 'demo' });
      for (const stream of [events, runs, own]) await stream.until(isLive);
      await wire.call('mutation', 'auth.refresh', { token: await tokenFor({ projects: ['demo'] }) });
      for (const stream of [events, runs]) {
        const items = await stream.until((item) => item.type === 'stream.gap');
        const gap = items.find((item) => item.type === 'stream.gap');
        expect(gap).toEqual({ type: 'stream.gap', reason: 'access_changed', fromSeq: 1, toSeq: 2 });
      }
      await server.bus.publish([progress('r2', 1, { projectId: 'second' }), progress('r1', 1)], publisher);
      for (const stream of [events, runs, own]) await stream.until((item) => 'runId' in item && item.runId === 'r1');
      expect([events, own].map(({ items }) => seqs(items))).toEqual([[4], [4]]);
      expect(own.items.map((item) => item.type)).not.toContain('stream.gap');
    });

    test('[D4] auth.refresh with other roles sends access_changed to readers of events of projects', async () => {
      await using server = await startServer();
      await using wire = await Wire.open(server.url, { token: await tokenFor({ roles: ['viewer'] }) });
      const streams = [wire.subscribe('onEvent'), wire.subscribe('onProjectEvent', { projectId: 'demo' })];
      for (const stream of streams) await stream.until(isLive);
      await wire.call('mutation', 'auth.refresh', { token: await tokenFor({ roles: ['viewer', 'approver'] }) });
      for (const stream of streams) await stream.until((item) => item.type === 'stream.gap');
    });

    test('[D4] auth.refresh with fewer rights ends only the subscriptions that need the lost ones', async () => {
      await using server = await startServer();
      await server.bus.publish([created('r1'), created('r2', { projectId: 'second' })], publisher);
      await using wire = await Wire.open(server.url, { token: await tokenFor({ projects: ['demo', 'second'] }) });
      const all = wire.subscribe('onEvent');
      const lost = wire.subscribe('onProjectEvent', { projectId: 'second' });
      for (const stream of [all, lost]) await stream.until(isLive);
      await wire.call('mutation', 'auth.refresh', { token: await tokenFor({ projects: ['demo'] }) });
      expect((await lost.error()).data.runwireCode).toBe('FORBIDDEN');
      await server.bus.publish([progress('r2', 1, { projectId: 'second' }), progress('r1', 1)], publisher);
      await all.until((item) => item.type === 'stage.progress');
      expect(seqs(all.items)).toEqual([4]);
    });

    test('[D11] a burst of 1,000 events of one run becomes a few headers, and the last one equals run.get', async () => {
      await using server = await startServer();
      await using wire = await Wire.open(server.url);
      const stream = wire.subscribe<RunHeader>('onRunSummary', {});
      await stream.until((item) => isSignal(item));
      for (let i = 0; i < 10; i++) {
        await server.bus.publish(
          upwards(1, 100).map((n) => progress('r1', (i * 100 + n) / 10)),
          publisher,
        );
      }
      await stream.until((item) => item.lastSeq === 1_000);
      const headers = stream.items.filter((item) => !isSignal(item));
      expect(headers.length).toBeLessThanOrEqual(10);
      const answer = await wire.call('query', 'run.get', { runId: 'r1' });
      const found = answer.result?.data as { run: RunView } | undefined;
      const { stages: _s, artifacts: _a, approvals: _g, ...header } = found?.run ?? ({} as RunView);
      expect(headers.at(-1)).toEqual(header);
    });
  });

  describe('back pressure', () => {
    test.skipIf(isOnThree)(
      '[D12] the server reads nothing for a client that stops reading, serves the others, and later delivers all events',
      async () => {
        await using server = await startServer();
        await using slow = await Wire.open(server.url, { token: await tokenFor({ sub: 'slow' }) });
        await using quick = await Wire.open(server.url, { token: await tokenFor({ sub: 'quick' }) });
        const slowStream = slow.subscribe('onEvent', {});
        const quickStream = quick.subscribe('onEvent', {});
        await slowStream.until(isLive);
        await quickStream.until(isLive);
        slow.ws.pause();

        const message = 'x'.repeat(2_000);
        const count = 12_000; // 25 MB: more than the kernel buffers.
        let highest = 0;
        const statsOf = (sub: string) => server.getStats().clients.find((client) => client.sub === sub);
        for (let seq = 0; seq < count; seq += 500) {
          await server.bus.publish(
            upwards(1, 500).map((i) => progress('r1', i % 100, { message })),
            publisher,
          );
          await quickStream.until((item) => !isSignal(item) && item.seq === seq + 500);
          highest = Math.max(highest, statsOf('slow')?.unsentBytes ?? 0);
        }
        expect(highest).toBeGreaterThan(0);
        expect(highest).toBeLessThan(512 * 1024);
        expect(statsOf('slow')?.lag).toBeGreaterThan(1_000);
        expect(statsOf('quick')?.lag).toBeLessThan(1_000);
        expect(seqs(quickStream.items)).toEqual(upwards(1, count));

        slow.ws.resume();
        await slow.until(() => slowStream.messages.length > count);
        await slowStream.until((item) => !isSignal(item) && item.seq === count);
        expect(seqs(slowStream.items)).toEqual(upwards(1, count));
        expect(events(slowStream.items).map(({ runSeq }) => runSeq)).toEqual(upwards(1, count));
      },
    );
  });

  test('[D12] a reader continues when its socket has drained, whatever its high-water mark', async () => {
    await using server = await openServer({ delivery });
    const http = createServer({ highWaterMark: 8 * 1024 * 1024 });
    server.attach(http);
    await once(http.listen(0, '127.0.0.1'), 'listening');
    await using slow = await Wire.open(`http://127.0.0.1:${(http.address() as AddressInfo).port}`);
    const stream = slow.subscribe('onEvent', {});
    await stream.until(isLive);
    slow.ws.pause();
    while ((server.getStats().clients[0]?.lag ?? 0) < 1_000) {
      const drafts = upwards(1, 200).map((i) => progress('r1', i % 100, { message: 'x'.repeat(2_000) }));
      await server.bus.publish(drafts, publisher);
      await new Promise(setImmediate);
    }
    slow.ws.resume();
    const items = await stream.until((item) => !isSignal(item) && item.seq === server.log.head);
    expect(seqs(items)).toEqual(upwards(1, server.log.head));
    http.close();
  });

  test.skipIf(isOnThree)('[D12] the server reads nothing for a closing socket', async () => {
    await using server = await startServer({ heartbeatMs: 2_000 });
    const token = await tokenFor({ sub: 'leaver', ttlSeconds: 60 });
    await using leaver = await Wire.open(server.url, { token });
    const stream = leaver.subscribe('onEvent', {});
    await stream.until(isLive);
    // The client answers pings and reads, but never answers the close frame: the socket stays half closed.
    const receiver = (leaver.ws as unknown as { _receiver: EventEmitter })._receiver;
    const refused = new Promise((resolve) => {
      receiver.removeAllListeners('conclude');
      receiver.once('conclude', resolve);
    });
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 });
    onTestFinished(() => void vi.useRealTimers());
    await refused;
    const before = server.getStats().delivered;
    for (let index = 0; index < 3; index++) {
      await server.bus.publish(
        upwards(1, 500).map((i) => progress('r1', i % 100)),
        publisher,
      );
    }
    // The subscription of a caller shows when everything has been delivered.
    const caller = server.router.createCaller({ principal: everyone });
    const { items } = await take(await caller.onEvent({ from: 'start' }), (item) => isLive(item));
    expect(server.getStats().delivered - before).toBe(items.length);
    leaver.ws.terminate();
  });

  describe('ends', () => {
    const resources = () => {
      const counts = new Map<string, number>();
      for (const name of process.getActiveResourcesInfo()) counts.set(name, (counts.get(name) ?? 0) + 1);
      return { timeouts: counts.get('Timeout') ?? 0, sockets: counts.get('TCPSocketWrap') ?? 0 };
    };

    test.skipIf(isOnThree)('[D13] 1,000 subscriptions, ended in every way, leave nothing behind', async () => {
      await using server = await startServer();
      await server.bus.publish([created('r1'), created('r2', { projectId: 'second' })], publisher);
      const before = resources();
      const kinds = [
        ['onRunEvent', { runId: 'r1', from: 'start' }],
        ['onRunEvent', { runId: 'unknown' }],
        ['onProjectEvent', { projectId: 'second' }],
        ['onUserEvent', {}],
        ['onEvent', { types: ['run.completed'] }],
        ['onRunSummary', { from: 'start' }],
      ] as const;
      for (let round = 0; round < 5; round++) {
        const token = await tokenFor({ projects: ['demo', 'second'] });
        const wire = await Wire.open(server.url, { token });
        const streams = upwards(0, 199).map((i) => {
          const [path, input] = kinds[i % kinds.length] as (typeof kinds)[number];
          return wire.subscribe<Item>(path, input);
        });
        await wire.until(() => streams.every((stream) => stream.items.some(isLive)));
        expect(server.getStats()).toMatchObject({ connections: 1, subscriptions: 200 });
        if (round === 0) {
          // Stopped by the client, one by one.
          for (const stream of streams) stream.stop();
          await wire.until(() => streams.every(({ messages }) => messages.at(-1)?.result?.type === 'stopped'));
        } else if (round === 1) {
          // Ended by an error: the token loses the second project.
          await wire.call('mutation', 'auth.refresh', { token: await tokenFor({ projects: ['demo'] }) });
          const lost = streams.filter((_, i) => i % kinds.length === 2);
          await wire.until(() => lost.every(({ messages }) => messages.at(-1)?.result?.type === 'stopped'));
          await expect.poll(() => server.getStats().subscriptions).toBe(200 - lost.length);
        } else if (round === 2) {
          // Stopped in the middle of a delivery.
          const publishing = server.bus.publish(
            upwards(1, 500).map((i) => progress('r1', i % 100)),
            publisher,
          );
          for (const stream of streams) stream.stop();
          await publishing;
          await wire.until(() => streams.every(({ messages }) => messages.at(-1)?.result?.type === 'stopped'));
        }
        if (round === 0 || round === 2) expect(server.getStats().subscriptions).toBe(0);
        if (round === 3) wire.ws.close();
        else wire.ws.terminate();
        await wire.closed;
        await expect.poll(() => server.getStats().connections).toBe(0);
      }
      await expect.poll(() => server.getStats().subscriptions).toBe(0);
      // The test runner has up to two timers of its own, at any moment.
      await expect.poll(() => resources().timeouts - before.timeouts).toBeLessThan(4);
      await expect.poll(() => resources().sockets).toBe(before.sockets);
      // No reader is left for an event to wake.
      const { delivered } = server.getStats();
      await server.bus.publish([progress('r1', 1), progress('r2', 1, { projectId: 'second' })], publisher);
      await new Promise((resolve) => setImmediate(resolve));
      expect(server.getStats().delivered).toBe(delivered);
    });

    test('[D13] a used id is refused and leaves nothing behind', async () => {
      await using server = await startServer();
      await using wire = await Wire.open(server.url);
      const stream = wire.subscribe('onEvent', {});
      await stream.until(isLive);
      for (let i = 0; i < 100; i++) {
        wire.send({ id: stream.id, method: 'subscription', params: { path: 'onEvent', input: {} } });
      }
      await wire.until(() => stream.messages.filter(({ error }) => error).length === 100);
      expect(server.getStats().subscriptions).toBe(1);
      await server.bus.publish([created('r1')], publisher);
      expect(seqs(await stream.until((item) => item.type === 'run.created'))).toEqual([1]);
    });

    test('[D14] a failed read of the log closes the socket with 1012, and ends no subscription', async () => {
      await using server = await startServer();
      await server.bus.publish([created('r1')], publisher);
      await using wire = await Wire.open(server.url);
      await using waiting = await Wire.open(server.url);
      const quiet = waiting.subscribe('onEvent', {});
      await quiet.until(isLive);
      expect((await wire.call('query', 'auth.me')).result).toBeDefined();
      vi.spyOn(server.log, 'read').mockRejectedValue(unavailable());
      vi.spyOn(server.log.runs, 'projectsOf').mockRejectedValue(unavailable());
      const streams = [
        wire.subscribe('onRunEvent', { runId: 'r1', from: 'start' }),
        wire.subscribe('onEvent', { from: 'start', lastEventId: `${server.log.epoch}.0` }),
      ];
      expect(await wire.closed).toEqual({ code: 1012, reason: 'the event log is unavailable' });
      for (const { messages } of streams) {
        expect(messages.every(({ error, result }) => !error && result?.type !== 'stopped')).toBe(true);
      }
      expect(waiting.ws.readyState).toBe(WebSocket.OPEN);
      vi.restoreAllMocks();
    });

    test('[D14] the stock client returns with its cursor and misses no event of the meantime', async () => {
      await using server = await startServer();
      await server.bus.publish([created('r1')], publisher);
      const token = await tokenFor();
      const wsClient = createWSClient({
        url: `${server.url.replace('http', 'ws')}/ws`,
        WebSocket: WebSocket as never,
        connectionParams: () => ({ token }),
        retryDelayMs: () => 5,
      });
      const client = createTRPCClient<AppRouter>({ links: [wsLink({ client: wsClient })] });
      const seen: number[] = [];
      const faults: unknown[] = [];
      let isBroken = true;
      const read = server.log.runs.projectsOf.bind(server.log.runs);
      vi.spyOn(server.log.runs, 'projectsOf').mockImplementation((...args) =>
        isBroken ? Promise.reject(unavailable()) : read(...args),
      );
      const subscription = client.onRunEvent.subscribe(
        { runId: 'r1', from: 'start' },
        {
          onData: ({ data }) => {
            if (!isSignal(data)) seen.push(data.seq);
          },
          onError: (error) => faults.push(error),
          onStopped: () => faults.push('stopped'),
        },
      );
      await expect.poll(() => vi.mocked(server.log.runs.projectsOf).mock.calls.length).toBeGreaterThan(3);
      await server.bus.publish([progress('r1', 1), progress('r1', 2)], publisher);
      isBroken = false;
      await expect.poll(() => seen).toEqual([1, 2, 3]);
      expect(faults).toEqual([]);
      vi.restoreAllMocks();
      subscription.unsubscribe();
      await wsClient.close();
    });
  });
});

describe('direct delivery', () => {
  test('[D15] direct delivery sends the same bytes as the loop of tRPC', async () => {
    using folder = temporaryFolder();
    const databaseUrl = `file:${folder.path}/runwire.db`;
    const sentBy = async (delivery: 'direct' | 'iterator') => {
      await using server = await start({ databaseUrl, delivery });
      if (server.log.head === 0) {
        await server.bus.publish([created('r1', { name: 'Größe “語” 😀' }), progress('r1', 1)], publisher);
      }
      await using wire = await Wire.open(server.url);
      const gone = wire.subscribe('onEvent', {}, 'abc.5');
      await gone.until(isLive);
      const streams = [
        wire.subscribe('onRunEvent', { runId: 'r1', from: 'start' }),
        wire.subscribe('onRunSummary', { from: 'start' }),
      ];
      for (const stream of streams) await stream.until(isLive);
      wire.send({ id: 'named', jsonrpc: '2.0', method: 'subscription', params: { path: 'onEvent', input: {} } });
      await wire.until(() => wire.messages.filter(({ id }) => id === 'named').length === 2);
      wire.send({ id: 'named', method: 'subscription.stop' });
      await wire.until(() => wire.messages.filter(({ id }) => id === 'named').length === 3);
      const wrong = wire.subscribe('onEvent', {}, 'none');
      await wire.until(() => wrong.messages.at(-1)?.result?.type === 'stopped'); // After its error.
      return [...wire.texts].sort();
    };
    const direct = await sentBy('direct');
    expect(direct.length).toBeGreaterThan(12);
    expect(await sentBy('iterator')).toEqual(direct);
  });

  test('[D18] the frames of a commit are sent before the observers of the bus are called', async () => {
    await using server = await start();
    await using wire = await Wire.open(server.url);
    const stream = wire.subscribe('onEvent', {});
    await stream.until(isLive);
    const sentBytes = () => server.getStats().clients[0]?.sentBytes ?? 0;
    const before = sentBytes();
    const sentWhenCalled: number[] = [];
    server.bus.subscribe({ next: () => sentWhenCalled.push(sentBytes() - before) });
    await server.bus.publish([created('r1'), progress('r1', 1)], publisher);
    await stream.until((item) => item.type === 'stage.progress');
    // The kernel has both frames at the first call: nothing is sent between the two calls.
    const sent = sentBytes() - before;
    expect(sent).toBeGreaterThan(0);
    expect(sentWhenCalled).toEqual([sent, sent]);
  });
});
