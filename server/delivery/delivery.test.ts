import v8 from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { RunwireError } from '../../shared/errors.ts';
import { foldOf } from '../../shared/event-table.ts';
import { foldEvent, type RunEvent, runwireEvents } from '../../shared/events.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import type { RunHeader, RunView } from '../../shared/run.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { created, everyone, isLive, progress } from '../../tests/support/harness.ts';
import type { Principal } from '../auth/principal.ts';
import { type ReadyDraft, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { decodeCursor, encodeCursor } from '../event-log/cursor.ts';
import { openSqliteLog } from '../event-log/sqlite/log.ts';
import { conflated } from './conflate.ts';
import { Delivery, type DeliveryOptions } from './delivery.ts';
import type { EventQuery } from './events.ts';
import type { Tracked } from './iterator.ts';
import type { AttachedReader, Transport } from './transport.ts';
import { Window } from './window.ts';

type Item = RunEvent | StreamSignal;

/** A transport that the test drains. */
class Pipe implements Transport {
  principal: Principal = everyone;
  isDrained = true;
  readonly readers = new Set<AttachedReader>();
  close: ((code: number) => void) | undefined;
  #drained: (() => void)[] = [];

  drained(): Promise<void> {
    return new Promise((resolve) => this.#drained.push(resolve));
  }
  drain(): void {
    this.isDrained = true;
    for (const resolve of this.#drained.splice(0)) resolve();
  }
  identify(principal: Principal): void {
    this.principal = principal;
    for (const reader of this.readers) reader.recheckAccess();
  }
  attach(reader: AttachedReader): void {
    this.readers.add(reader);
  }
  detach(reader: AttachedReader): void {
    this.readers.delete(reader);
  }
}

/** A delivery that is notified after each commit and erasure, as in a server. */
function openDelivery(options: DeliveryOptions & { log: EventLog }): Delivery {
  const delivery = new Delivery(options);
  options.log.subscribe((records) => delivery.committed(records));
  options.log.integrity.onErased((tombstone) => delivery.erased(tombstone));
  return delivery;
}

let lastEventId = 0;
async function setUp({ quietMs }: { quietMs?: number } = {}) {
  const log = await openSqliteLog({ path: ':memory:', fold: foldOf(runwireEvents) as never });
  const delivery = openDelivery({ log, quietMs });
  const pipe = new Pipe();
  return {
    log,
    delivery,
    pipe,
    append: (...drafts: object[]) =>
      log.append({
        actor: 'ada',
        drafts: drafts.map(
          (draft) =>
            ({
              timestamp: '2026-01-01T00:00:00.000Z',
              eventId: `e${++lastEventId}`,
              ...draft,
            }) as unknown as ReadyDraft,
        ),
      }),
    read: (query: Partial<EventQuery> = {}, signal?: AbortSignal) =>
      delivery.events<RunEvent>(pipe, { scope: { kind: 'all' }, from: 'start', conflate: false, ...query }, signal),
    [Symbol.asyncDispose]: async () => {
      delivery.close();
      await log.close();
    },
  };
}

const next = async (reader: AsyncIterator<Tracked<RunEvent>>): Promise<Item> => (await reader.next()).value[1];
async function upTo(reader: AsyncIterator<Tracked<RunEvent>>, passes: (item: Item) => boolean): Promise<Item[]> {
  const items: Item[] = [];
  do items.push(await next(reader));
  while (!passes(items.at(-1) as Item));
  return items;
}

const seqs = (items: Item[]) => items.flatMap((item) => (isSignal(item) ? [] : [item.seq]));
const upwards = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** A log, or a part of it, with some of its members replaced. */
const withMethods = <T extends object>(part: T, methods: Partial<T>): T =>
  new Proxy(part, {
    get: (target, name) => {
      const value = Reflect.get(name in methods ? methods : target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
/** A log that accepts events and cannot be read. */
const broken = (log: EventLog) =>
  withMethods(log, { read: () => Promise.reject(new RunwireError('UNAVAILABLE', 'broken')) });

describe('cursors', () => {
  test('[D2] decoding an encoded cursor returns its epoch and position', () => {
    expect(decodeCursor(encodeCursor('0a1b', { seq: 42 }))).toEqual({ epoch: '0a1b', seq: 42 });
  });
  test('[D5] any other text is CURSOR_INVALID', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(!/^[0-9a-f]{1,64}\.\d{1,15}$/.test(text));
        expect(() => decodeCursor(text)).toThrow(expect.objectContaining({ code: 'CURSOR_INVALID' }));
      }),
    );
  });
});

describe('the window', () => {
  const record = (seq: number) =>
    new StoredEvent({ seq, runSeq: seq, projectId: 'demo', runId: 'r1', type: 'run.started', json: '{}' });

  test('[D1] the window returns the same records as the log for every position that it covers', () => {
    const window = new Window({ records: 10, bytes: 1_000 });
    expect(window.covers(0)).toBe(false);
    for (let seq = 5; seq <= 40; seq++) window.push([record(seq)]);
    const first = upwards(1, 40).find((seq) => window.covers(seq - 1)) as number;
    expect(first).toBeGreaterThan(20);
    expect(first).toBeLessThanOrEqual(31);
    expect(window.covers(40)).toBe(true);
    const page = window.read(33, 3, ({ seq }) => seq % 2 === 0);
    expect(page.records.map(({ seq }) => seq)).toEqual([34, 36, 38]);
    expect(page.scannedTo).toBe(38);
    expect(window.read(38, 3, () => false)).toEqual({ records: [], scannedTo: 40 });
  });

  test('[D12] the window has a limit of bytes, and releases records that it no longer covers', () => {
    v8.setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const window = new Window({ records: 1_000, bytes: 100 });
    const held: WeakRef<StoredEvent>[] = [];
    const push = (seq: number) => {
      const it = new StoredEvent({ seq, runSeq: seq, projectId: 'demo', runId: 'r1', type: 'x', json: 'x'.repeat(30) });
      held.push(new WeakRef(it));
      window.push([it]);
    };
    for (let seq = 1; seq <= 50; seq++) push(seq);
    expect([window.covers(46), window.covers(47)]).toEqual([false, true]);
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      collect();
      expect(held.filter((ref) => ref.deref()).length).toBeLessThanOrEqual(4);
    });
  });
});

describe('readers', () => {
  test('[D1] a reader that passes from the log to the window sees each event once, in order', async () => {
    await using set = await setUp();
    const total = 10_000; // More than the limit of the window.
    const reader = set.read();
    const reading = upTo(reader, (item) => !isSignal(item) && item.seq === total);
    for (let seq = 1; seq <= total; seq += 500) {
      await set.append(...upwards(1, 500).map((i) => progress('r1', i % 100)));
    }
    expect(seqs(await reading)).toEqual(upwards(1, total));
    await reader.return?.();
  });

  test('[D1] for any scope, filter, start and interruption, a reader yields the matches of the log', async () => {
    await using set = await setUp();
    const projects = ['a', 'b'];
    const runs = ['r1', 'r2'];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...projects), fc.constantFrom(...runs), fc.integer({ min: 0, max: 1 })), {
          minLength: 1,
          maxLength: 40,
        }),
        fc.constantFrom<EventQuery['scope']>(
          { kind: 'all' },
          { kind: 'project', projectId: 'a' },
          { kind: 'run', projectId: 'b', runId: 'r1' },
        ),
        fc.boolean(),
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 8 }),
        async (drafts, scope, isFiltered, cuts) => {
          const begin = set.log.head;
          const types = isFiltered ? new Set(['stage.progress']) : undefined;
          const matches = drafts.flatMap(([projectId, runId, kind], i) =>
            (!('projectId' in scope) || scope.projectId === projectId) &&
            (scope.kind !== 'run' || scope.runId === runId) &&
            (!isFiltered || kind === 0)
              ? [begin + i + 1]
              : [],
          );
          const publishing = (async () => {
            for (const [projectId, runId, kind] of drafts) {
              await set.append(kind === 0 ? progress(runId, 1, { projectId }) : created(runId, { projectId }));
            }
          })();
          const seen: number[] = [];
          let cursor = encodeCursor(set.log.epoch, { seq: begin });
          // Each reader ends after a few items, except the last.
          for (const cut of [...cuts, Number.POSITIVE_INFINITY]) {
            const reader = set.read({ scope, types, lastEventId: cursor });
            for (let i = 0; i < cut; i++) {
              if (cut === Number.POSITIVE_INFINITY) await publishing;
              const [id, item] = (await reader.next()).value as Tracked<RunEvent>;
              cursor = id;
              if (isSignal(item)) break;
              seen.push(item.seq);
            }
            await reader.return?.();
          }
          expect(seen).toEqual(matches);
        },
      ),
      { numRuns: 60, seed: 7 },
    );
  });

  test('[D12] a reader with a full socket reads nothing until the socket drains, and continues from its cursor', async () => {
    await using set = await setUp();
    await set.append(created('r1'), progress('r1', 1), progress('r1', 2));
    const reader = set.read();
    expect(await next(reader)).toMatchObject({ seq: 1 });
    set.pipe.isDrained = false;
    let isRead = false;
    const second = reader.next().then((result) => {
      isRead = true;
      return result;
    });
    await set.append(progress('r1', 3));
    await set.append(progress('r1', 4));
    expect(isRead).toBe(false);
    expect([...set.pipe.readers].map(({ lag }) => lag)).toEqual([4]);
    set.pipe.drain();
    expect((await second).value[1]).toMatchObject({ seq: 2 });
    expect(seqs(await upTo(reader, isLive))).toEqual([3, 4, 5]);
    await reader.return?.();
  });

  test('[D4] wider rights give an open reader a gap; narrower rights end it or narrow it', async () => {
    await using set = await setUp();
    await set.append(created('r1'), created('r2', { projectId: 'second' }));
    set.pipe.principal = { sub: 'ada', projects: ['demo'], roles: ['viewer'] };
    const all = set.read();
    const first = set.read({ scope: { kind: 'project', projectId: 'demo' } });
    expect(seqs(await upTo(all, isLive))).toEqual([1]);
    expect(seqs(await upTo(first, isLive))).toEqual([1]);

    const waiting = next(all);
    set.pipe.identify({ sub: 'ada', projects: ['demo', 'second'], roles: ['viewer'] });
    expect(await waiting).toEqual({ type: 'stream.gap', reason: 'access_changed', fromSeq: 1, toSeq: 2 });
    await set.append(created('r3', { projectId: 'second' }));
    expect(seqs(await upTo(all, (item) => !isSignal(item)))).toEqual([3]);

    const losing = first.next();
    set.pipe.identify({ sub: 'ada', projects: ['second'], roles: ['viewer'] });
    await expect(losing).rejects.toMatchObject({ code: 'FORBIDDEN' });
    const narrowed = next(all);
    await set.append(created('r4'), created('r5', { projectId: 'second' }));
    expect(await narrowed).toMatchObject({ reason: 'access_changed', toSeq: 3 });
    expect(await next(all)).toMatchObject({ seq: 5 });
    await all.return?.();
    expect(set.delivery.waiting).toBe(0);
  });

  test('[D4] a page that was read with wider rights is read again after they narrow', async () => {
    await using set = await setUp();
    for (let i = 0; i < 20; i++) await set.append(created(`r${i}`, { projectId: i % 2 ? 'b' : 'a' }));
    set.pipe.principal = { sub: 'ada', projects: ['a', 'b'], roles: ['viewer'] };
    const reader = set.read();
    expect(seqs([await next(reader), await next(reader), await next(reader)])).toEqual([1, 2, 3]);
    set.pipe.identify({ sub: 'ada', projects: ['a'], roles: ['viewer'] });
    const rest = await upTo(reader, isLive);
    expect(seqs(rest)).toEqual([5, 7, 9, 11, 13, 15, 17, 19]);
    expect(rest.at(-2)).toEqual({ type: 'stream.gap', reason: 'access_changed', fromSeq: 1, toSeq: 20 });
    await reader.return?.();
  });

  test('[D8] a run that is created during its look-up is found', async () => {
    await using set = await setUp();
    await set.append(created('other'));
    let isThere = false;
    const runs = withMethods(set.log.runs, {
      projectsOf: async (...args) => {
        const found = await set.log.runs.projectsOf(...args);
        if (!isThere) await set.append(created('r1'));
        isThere = true;
        return found;
      },
    });
    const racing = withMethods(set.log, { runs });
    const delivery = openDelivery({ log: racing });
    const query: EventQuery = { scope: { kind: 'run', runId: 'r1' }, from: 'start', conflate: false };
    const reader = delivery.events<RunEvent>(set.pipe, query, undefined);
    expect(await upTo(reader, isLive)).toMatchObject([{ type: 'run.created', runId: 'r1' }, { type: 'stream.live' }]);
    await reader.return?.();
    delivery.close();
  });

  test('[D14] a log that cannot be read closes the socket with 1012, and the reader neither fails nor ends', async () => {
    await using set = await setUp();
    await set.append(created('r1'));
    const delivery = openDelivery({ log: broken(set.log) });
    const closed = new Promise<number>((resolve) => {
      set.pipe.close = resolve;
    });
    const query: EventQuery = { scope: { kind: 'all' }, from: 'start', conflate: false };
    const reader = delivery.events<RunEvent>(set.pipe, query, undefined);
    let isSettled = false;
    const pending = reader.next().finally(() => {
      isSettled = true;
    });
    expect(await closed).toBe(1012);
    expect(isSettled).toBe(false);
    await reader.return?.();
    expect(await pending).toMatchObject({ done: true });
    delivery.close();
  });

  test('[D14] a reader without a socket fails with UNAVAILABLE when the log cannot be read', async () => {
    await using set = await setUp();
    await set.append(created('r1'));
    const delivery = openDelivery({ log: broken(set.log) });
    const query: EventQuery = { scope: { kind: 'all' }, from: 'start', conflate: false };
    const reader = delivery.events<RunEvent>(set.pipe, query, undefined);
    await expect(reader.next()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(await reader.next()).toMatchObject({ done: true });
    expect(set.pipe.readers.size).toBe(0);
    delivery.close();
  });

  test('[D3] events that do not match send one stream.live after the quiet interval', async () => {
    await using set = await setUp({ quietMs: 30 });
    await set.append(created('r1'));
    const reader = set.read({ types: new Set(['run.completed']), from: 'now' });
    expect(await next(reader)).toEqual({ type: 'stream.live', seq: 1 });
    const live = next(reader);
    await set.append(progress('r1', 1));
    await set.append(progress('r1', 2));
    expect(await live).toEqual({ type: 'stream.live', seq: 3 });
    await reader.return?.();
  });

  test('[A4] a reader of an unreadable run gets the same signals as a reader of an unknown run', async () => {
    await using set = await setUp({ quietMs: 30 });
    await set.append(created('r1', { projectId: 'secret' }), created('other'));
    const { pipe } = set;
    pipe.principal = { sub: 'eve', projects: ['demo'], roles: ['viewer'] };
    const readers = ['r1', 'missing'].flatMap((runId) =>
      [undefined, 'secret'].map((projectId) => set.read({ scope: { kind: 'run', runId, projectId } })),
    );
    const signs = await Promise.all(
      readers.map(async (reader) => {
        const first = await next(reader);
        const second = next(reader);
        await set.append(progress('r1', 1, { projectId: 'secret' }));
        return [first.type, (await second).type];
      }),
    );
    for (const sign of signs) expect(sign).toEqual(['stream.live', 'stream.live']);
    for (const reader of readers) await reader.return?.();
  });

  test('[D13] when delivery closes, a reader without a socket that waits or would wait fails', async () => {
    await using set = await setUp();
    await set.append(created('r1'));
    const [waiting, holding] = [set.read(), set.read()];
    await upTo(waiting, isLive);
    const pending = waiting.next();
    await next(holding);
    set.delivery.close();
    await expect(pending).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(await next(holding)).toMatchObject({ type: 'stream.live' });
    await expect(holding.next()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(set.pipe.readers.size).toBe(0);
    expect(set.delivery.waiting).toBe(0);
  });

  test('[D13] a reader behind the head still reads events that are logged after delivery closed, and then fails', async () => {
    await using set = await setUp();
    await set.append(created('r1'), progress('r1', 1));
    const reader = set.read();
    expect(await next(reader)).toMatchObject({ seq: 1 });
    set.delivery.close();
    await set.append(progress('r1', 2), progress('r1', 3));
    expect(seqs(await upTo(reader, isLive))).toEqual([2, 3, 4]);
    await expect(reader.next()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  test('[D13] a reader that ends, in any way, leaves no waiter and leaves its transport', async () => {
    await using set = await setUp();
    await set.append(created('r1'));
    const endings: ((reader: ReturnType<typeof set.read>, controller: AbortController) => unknown)[] = [
      (reader) => reader.return?.(),
      (reader) => reader.throw?.(new Error('stop')).catch(() => undefined),
      (_reader, controller) => controller.abort(),
      (reader, controller) => {
        controller.abort();
        return reader.return?.();
      },
    ];
    for (const end of endings) {
      // Before the start, while waiting, with buffered items, and with a full transport.
      const controllers = upwards(1, 4).map(() => new AbortController());
      const readers = controllers.map(({ signal }) => set.read({}, signal));
      const [, waiting, holding, blocked] = readers as [typeof reader, typeof reader, typeof reader, typeof reader];
      const [reader] = readers as [(typeof readers)[number]];
      await upTo(waiting, isLive);
      const quiet = waiting.next();
      await next(holding);
      await next(blocked);
      set.pipe.isDrained = false;
      const stuck = blocked.next();
      set.pipe.drain();
      await stuck;
      for (const [i, it] of readers.entries()) await end(it, controllers[i] as AbortController);
      expect(await quiet).toMatchObject({ done: true });
      for (const it of readers) expect(await it.next()).toMatchObject({ done: true });
      expect(set.delivery.waiting).toBe(0);
      expect(set.pipe.readers.size).toBe(0);
    }
  });
});

describe('conflation', () => {
  const stageIds = ['s1', 's2'];
  const times = upwards(0, 6).map((second) => `2026-01-01T00:00:0${second}.000Z`);
  const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
  const stage = { stageId: fc.constantFrom(...stageIds), attempt: optional(fc.integer({ min: 1, max: 3 })) };
  const body = fc.oneof(
    {
      weight: 6,
      arbitrary: fc
        .record({
          type: fc.constant('stage.progress'),
          ...stage,
          progress: optional(fc.integer({ min: 0, max: 100 })),
          message: optional(fc.constantFrom('a', 'b')),
          done: optional(fc.integer({ min: 0, max: 5 })),
          total: optional(fc.integer({ min: 0, max: 5 })),
        })
        .filter((it) => it.progress !== undefined || it.message !== undefined || it.done !== undefined),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('stage.started'), ...stage }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('stage.completed'), ...stage }) },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constant('stage.failed'),
        ...stage,
        error: fc.constant({ message: 'broke' }),
        willRetry: optional(fc.boolean()),
      }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('run.created'), name: fc.constantFrom('A', 'B') }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('run.started', 'run.completed') }) },
  );
  const events = fc.array(fc.tuple(body, fc.constantFrom(...times)), { maxLength: 30 }).map((bodies) =>
    bodies.map(([fields, timestamp], i) => ({
      ...Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)),
      projectId: 'demo',
      runId: 'r1',
      timestamp,
      eventId: `e${i}`,
      actor: 'ada',
      recordedAt: timestamp,
      seq: i + 1,
      runSeq: i + 1,
    })),
  );
  const recordOf = (event: { seq: number; runSeq: number; type?: unknown }) =>
    new StoredEvent({
      ...event,
      projectId: 'demo',
      runId: 'r1',
      type: event.type as string,
      json: JSON.stringify(event),
      event,
    });
  const folded = (list: object[]): Partial<RunView> => {
    const memory = new RunMemory();
    for (const event of list) foldEvent(memory, event as RunEvent);
    const { lastSeq: _seq, lastRunSeq: _runSeq, ...view } = memory.view() ?? ({} as RunView);
    return view;
  };

  test('[D7] only superseded progress is left out, and the fold is the same', () => {
    fc.assert(
      fc.property(events, (list) => {
        const kept = conflated(list.map(recordOf)).map((record) => record.event as (typeof list)[number]);
        const isKept = new Set(kept.map(({ seq }) => seq));
        expect(kept.map(({ seq }) => seq)).toEqual([...isKept].sort((a, b) => a - b));
        for (const left of list.filter(({ seq }) => !isKept.has(seq)) as (RunEvent & { stageId: string })[]) {
          expect(left.type).toBe('stage.progress');
          expect(kept.some((it) => it.seq > left.seq && (it as { stageId?: string }).stageId === left.stageId)).toBe(
            true,
          );
        }
        expect(folded(kept)).toEqual(folded(list));
      }),
      { numRuns: 1_500, seed: 3 },
    );
  });

  test('[D7] a reader behind the head gets the last progress of each stage; a reader at the head gets all', async () => {
    await using set = await setUp();
    const at = (i: number) => `2026-01-01T00:00:${`${i}`.padStart(2, '0')}.000Z`;
    const steps = upwards(1, 50).map((i) => progress('r1', i, { timestamp: at(i), stageId: i % 2 ? 's1' : 's2' }));
    await set.append(created('r1'), ...steps, {
      type: 'stage.completed',
      projectId: 'demo',
      runId: 'r1',
      stageId: 's1',
    });
    const reader = set.read({ conflate: true });
    const behind = await upTo(reader, isLive);
    expect(behind.length).toBeLessThan(10);
    expect(behind.map((item) => item.type)).toContain('stage.completed');
    expect(seqs(behind)).toEqual(expect.arrayContaining([1, 50, 51, 52]));
    for (let i = 51; i < 56; i++) {
      const live = next(reader);
      await set.append(progress('r1', i, { timestamp: at(i) }));
      expect(await live).toMatchObject({ progress: i });
    }
    await reader.return?.();
    const plain = set.read();
    expect(seqs(await upTo(plain, isLive))).toEqual(upwards(1, 57));
    await plain.return?.();
  });
});

describe('summaries', () => {
  type Summary = RunHeader | StreamSignal;
  const headers = (items: Summary[]) => items.filter((item): item is RunHeader => !isSignal(item));

  test('[D11] a burst on one run gives a few items, and the last is the current header', async () => {
    await using set = await setUp();
    const reader = set.delivery.summaries(set.pipe, { from: 'now' }, undefined);
    expect((await reader.next()).value[1]).toMatchObject({ type: 'stream.live' });
    const items: Summary[] = [];
    const reading = (async () => {
      while (headers(items).at(-1)?.status !== 'completed') items.push((await reader.next()).value[1]);
    })();
    const begun = performance.now();
    await set.append(created('r1'));
    for (let i = 0; i < 1_000; i++) await set.append(progress('r1', i / 10));
    await set.append({ type: 'run.completed', projectId: 'demo', runId: 'r1' });
    await reading;
    expect(items.length).toBeLessThanOrEqual(3 + (performance.now() - begun) / 250);
    const found = await set.log.runs.get('demo', 'r1');
    const { stages: _s, artifacts: _a, approvals: _g, ...header } = found?.run ?? ({} as RunView);
    expect(headers(items).at(-1)).toEqual(header);
    await reader.return?.();
  });

  test('[D11] changed runs are read once in 250 ms, at any rate of events', async () => {
    await using set = await setUp();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    onTestFinished(() => void vi.useRealTimers());
    let looks = 0;
    const runs = withMethods(set.log.runs, {
      changedSince: (query) => {
        looks++;
        return set.log.runs.changedSince(query);
      },
    });
    const watched = withMethods(set.log, { runs });
    const delivery = openDelivery({ log: watched });
    const reader = delivery.summaries(set.pipe, { from: 'now' }, undefined);
    expect(isSignal((await reader.next()).value[1])).toBe(true);
    const items: Summary[] = [];
    const reading = (async () => {
      for (let result = await reader.next(); !result.done; result = await reader.next()) items.push(result.value[1]);
    })();
    for (let round = 1; round <= 3; round++) {
      for (let i = 0; i < 50; i++) await set.append(progress('r1', i));
      expect(looks).toBe(round);
      vi.advanceTimersByTime(249);
      await set.append(progress('r1', 50));
      expect(looks).toBe(round);
      vi.advanceTimersByTime(1);
      await set.append(progress('r1', round));
    }
    await reader.return?.();
    await reading;
    expect(headers(items).length).toBeLessThanOrEqual(4);
    delivery.close();
  });

  test('[W4] after `close`, a reader gets later events from the log: the window receives no more commits', async () => {
    await using set = await setUp();
    let reads = 0;
    const log = withMethods(set.log, {
      read: (query) => {
        reads++;
        return set.log.read(query);
      },
    });
    const delivery = openDelivery({ log });
    for (const n of [1, 2, 3]) await set.append(progress('r1', n));
    const reader = delivery.events<RunEvent>(
      set.pipe,
      { scope: { kind: 'all' }, from: 'start', conflate: false },
      undefined,
    );
    expect(seqs([await next(reader), await next(reader), await next(reader)])).toEqual([1, 2, 3]);
    delivery.close();
    await set.append(progress('r1', 4));
    const before = reads;
    expect((await next(reader)) as { seq: number }).toMatchObject({ seq: 4 });
    expect(reads).toBe(before + 1);
  });

  test('[D11] a reader resumed from any cursor misses no changed run', async () => {
    await using set = await setUp();
    const runs = upwards(1, 300).map((i) => `r${i}`);
    for (const runId of runs) await set.append(created(runId));
    const last = new Map<string, number>();
    let cursor: string | undefined;
    for (let round = 0; round < 12; round++) {
      const reader = set.delivery.summaries(set.pipe, { from: 'start', lastEventId: cursor }, undefined);
      for (let i = 0; i < 40; i++) {
        const [id, item] = (await reader.next()).value as Tracked<RunHeader>;
        cursor = id;
        if (isSignal(item)) break;
        last.set(item.runId, item.lastSeq);
      }
      await reader.return?.();
      await set.append(progress(`r${round * 20 + 1}`, 5), progress('r300', round));
    }
    const reader = set.delivery.summaries(set.pipe, { from: 'start', lastEventId: cursor }, undefined);
    for (let isDone = false; !isDone; ) {
      const item = (await reader.next()).value[1] as Summary;
      if (isSignal(item)) isDone = true;
      else last.set(item.runId, item.lastSeq);
    }
    await reader.return?.();
    for (const runId of runs) expect(last.get(runId)).toBe((await set.log.runs.get('demo', runId))?.run.lastSeq);
  });

  test('[D11] headers are of readable runs, and of one project if the query names one', async () => {
    await using set = await setUp();
    await set.append(...['a', 'b', 'c'].map((projectId) => created('r1', { projectId })));
    set.pipe.principal = { sub: 'eve', projects: ['a', 'b'], roles: ['viewer'] };
    const read = async (projectId?: string) => {
      const reader = set.delivery.summaries(set.pipe, { from: 'start', projectId }, undefined);
      const items: Summary[] = [];
      do items.push((await reader.next()).value[1]);
      while (!isSignal(items.at(-1) as Summary));
      await reader.return?.();
      return headers(items).map((header) => header.projectId);
    };
    expect(await read()).toEqual(['a', 'b']);
    expect(await read('b')).toEqual(['b']);
    expect(await read('c')).toEqual([]);
  });

  test('[D13] a reader that ends while it waits for a refresh leaves no timer', async () => {
    await using set = await setUp();
    await set.append(created('r1'));
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }); // The timers of the test runner are not counted.
    onTestFinished(() => void vi.useRealTimers());
    const reader = set.delivery.summaries(set.pipe, { from: 'start' }, undefined);
    while (!isSignal((await reader.next()).value[1]));
    await set.append(created('r2'));
    const sleeping = reader.next();
    await new Promise(setImmediate);
    expect(vi.getTimerCount()).toBe(1);
    await reader.return?.();
    expect(await sleeping).toMatchObject({ done: true });
    expect(vi.getTimerCount()).toBe(0);
    expect(set.delivery.waiting).toBe(0);
  });
});
