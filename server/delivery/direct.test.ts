import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { foldOf } from '../../shared/event-table.ts';
import { type RunEvent, runwireEvents } from '../../shared/events.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import { created, everyone, progress } from '../../tests/support/harness.ts';
import type { Principal } from '../auth/principal.ts';
import type { ReadyDraft, Scope } from '../event-log/contract/log.ts';
import { cursorAt, encodeCursor } from '../event-log/cursor.ts';
import { openSqliteLog } from '../event-log/sqlite/log.ts';
import { Delivery } from './delivery.ts';
import type { DirectSubscription } from './direct.ts';
import type { EventQuery } from './events.ts';
import { framesOf } from './frames.ts';
import type { AttachedReader, FrameSink, Transport } from './transport.ts';

type Item = RunEvent | StreamSignal;
type Message = { id: number; jsonrpc?: string; result: { type: 'data'; id: string; data: { id: string; data: Item } } };

/** A transport and sink that the test drains. It keeps the writes. */
class Line implements Transport, FrameSink {
  principal: Principal = everyone;
  isDrained = true;
  readonly sink = this;
  readonly readers = new Set<AttachedReader>();
  readonly writes: Buffer[] = [];
  corks = 0;
  groups = 0;
  isCorked = false;
  closeCode: number | undefined;
  #drained: (() => void)[] = [];

  drained(): Promise<void> {
    return new Promise((resolve) => this.#drained.push(resolve));
  }
  drain(): void {
    this.isDrained = true;
    for (const resolve of this.#drained.splice(0)) resolve();
  }
  write(frames: Buffer): void {
    expect(this.isDrained).toBe(true);
    this.writes.push(frames);
  }
  cork(): void {
    expect(this.isCorked).toBe(false);
    this.isCorked = true;
    this.corks++;
  }
  uncork(): void {
    this.isCorked = false;
  }
  close(code: number): void {
    this.closeCode = code;
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

  get messages(): Message[] {
    return this.writes.flatMap(textsOf).map((text) => JSON.parse(text) as Message);
  }
  items(id = 1): Item[] {
    return this.messages.filter((message) => message.id === id).map(({ result }) => result.data.data);
  }
  seqs(id = 1): number[] {
    return this.items(id).flatMap((item) => (isSignal(item) ? [] : [item.seq]));
  }
}

/** Payloads of unmasked text frames. */
function textsOf(frames: Buffer): string[] {
  const texts: string[] = [];
  for (let at = 0; at < frames.length; ) {
    expect(frames[at]).toBe(0x81);
    const short = frames[at + 1] as number;
    const [size, head] =
      short < 126
        ? [short, 2]
        : short === 126
          ? [frames.readUInt16BE(at + 2), 4]
          : [Number(frames.readBigUInt64BE(at + 2)), 10];
    texts.push(frames.toString('utf8', at + head, at + head + size));
    at += head + size;
  }
  return texts;
}

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0)) await clean();
});

let lastEventId = 0;
async function setUp({ quietMs }: { quietMs?: number } = {}) {
  const log = await openSqliteLog({ path: ':memory:', fold: foldOf(runwireEvents) as never });
  const delivery = new Delivery({ log, quietMs });
  log.subscribe((records) => delivery.committed(records));
  cleanups.push(async () => {
    delivery.close();
    await log.close();
  });
  const append = (...drafts: object[]) =>
    log.append({
      actor: 'ada',
      drafts: drafts.map(
        (draft) =>
          ({ timestamp: '2026-01-01T00:00:00.000Z', eventId: `e${++lastEventId}`, ...draft }) as unknown as ReadyDraft,
      ),
    });
  /** Subscribes as `ClientCalls` does. `failure` resolves with the error of the subscription. */
  const subscribe = (line: Line, query: Partial<EventQuery> = {}, id: number | string = 1) => {
    const subscription = delivery.events(
      line,
      { scope: { kind: 'all' }, from: 'start', conflate: false, ...query },
      undefined,
    ) as unknown as DirectSubscription;
    const failure = new Promise((failed) => subscription.begin({ id, failed }));
    return { failure, stop: () => subscription.return() };
  };
  /** Resolves once `count` readers wait. */
  const waiting = async (count: number) => {
    while (delivery.waiting !== count) await new Promise(setImmediate);
  };
  return { log, delivery, append, subscribe, waiting };
}

const upwards = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test('[D15] frames are complete for payloads of every size and any characters', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('a', 'é', '語', '😀'),
      fc.array(fc.constantFrom(0, 1, 20, 100, 125, 126, 127, 1_000, 65_535, 65_536, 70_000), {
        minLength: 1,
        maxLength: 3,
      }),
      (character, sizes) => {
        const rests = sizes.map((size) => character.repeat(size));
        expect(textsOf(framesOf('{"id":1,', rests))).toEqual(rests.map((rest) => `{"id":1,${rest}`));
      },
    ),
  );
});

describe('fan-out groups', () => {
  test('[D15] readers with the same query and request id get one buffer, and other readers their own', async () => {
    const { append, subscribe, waiting } = await setUp();
    const lines = upwards(1, 4).map(() => new Line());
    const [first, second, third, fourth] = lines as [Line, Line, Line, Line];
    subscribe(first);
    subscribe(second);
    subscribe(third, {}, 'other');
    subscribe(fourth, { types: new Set(['run.created']) });
    await waiting(4);
    await append(created('r1'), progress('r1', 1));
    expect(first.writes.at(-1)).toBe(second.writes.at(-1));
    expect(third.messages.at(-1)).toEqual({ ...first.messages.at(-1), id: 'other' });
    expect(lines.map((line) => line.messages.length - 1)).toEqual([2, 2, 2, 1]);
  });

  test('[D17] messages of several groups to one socket leave in one packet', async () => {
    const { append, subscribe, waiting } = await setUp();
    const [one, many] = [new Line(), new Line()];
    subscribe(one);
    for (const id of upwards(1, 5)) subscribe(many, { scope: { kind: 'project', projectId: 'demo' } }, id);
    await waiting(6);
    const before = one.writes.length;
    await append(...upwards(1, 10).map((value) => progress('r1', value)));
    expect(one.writes.length - before).toBe(1);
    expect(one.seqs()).toEqual(upwards(1, 10));
    // Five request ids make five buffers.
    expect([one.corks, many.corks]).toEqual([0, 1]); // A socket of one group is written to once.

    expect(many.isCorked).toBe(false);
    for (const id of upwards(1, 5)) expect(many.seqs(id)).toEqual(upwards(1, 10));
  });

  test('[A3] a reader gets no event that its rights do not cover', async () => {
    const { append, subscribe, waiting } = await setUp();
    const lines = ['a', 'b', '*'].map((projectId) => {
      const line = new Line();
      line.principal = { sub: 'eve', projects: [projectId], roles: ['viewer'] };
      subscribe(line);
      return line;
    });
    await waiting(3);
    await append(
      created('r1', { projectId: 'a' }),
      created('r1', { projectId: 'b' }),
      created('r1', { projectId: 'c' }),
    );
    expect(lines.map((line) => line.seqs())).toEqual([[1], [2], [1, 2, 3]]);
  });

  test('[D8] an unreadable run does not wake a reader that waits for a run by its id alone', async () => {
    const { log, append, subscribe, waiting } = await setUp();
    const line = new Line();
    line.principal = { sub: 'eve', projects: ['a'], roles: ['viewer'] };
    subscribe(line, { scope: { kind: 'run', runId: 'r1' } });
    await waiting(1);
    const looks = vi.spyOn(log.runs, 'projectsOf');
    for (let i = 0; i < 10; i++) {
      await append(created('r1', { projectId: 'b' }));
      await waiting(1);
    }
    expect(looks).not.toHaveBeenCalled();
    await append(created('r1', { projectId: 'a' }));
    await waiting(1);
    expect(line.seqs()).toEqual([11]);
  });

  test('[D3] each reader gets the head after its own quiet interval, and not before', async () => {
    const { log, append, subscribe, waiting } = await setUp({ quietMs: 200 });
    const [early, late] = [new Line(), new Line()];
    const query = { types: new Set(['run.completed']) };
    subscribe(early, query);
    await waiting(1);
    const begun = performance.now();
    await append(created('r1'));
    while (performance.now() - begun < 120) await new Promise(setImmediate);
    const lateBegun = performance.now();
    subscribe(late, query);
    await waiting(2);
    await append(progress('r1', 1));
    // On a busy machine, a reader may have received a `stream.live` of an earlier head: only those of seq 2 count.
    const livesOf = (line: Line) => line.items().filter((item) => (item as { seq: number }).seq === 2).length;
    while (livesOf(early) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    while (livesOf(late) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(performance.now() - lateBegun).toBeGreaterThan(198);
    for (const line of [early, late]) {
      expect(line.messages.at(-1)?.result).toMatchObject({
        id: await cursorAt(log, 2),
        data: { data: { type: 'stream.live', seq: 2 } },
      });
    }
    expect([livesOf(early), livesOf(late)]).toEqual([1, 1]);
  });

  test('[W43] readers that become quiet together get the head in several turns of the event loop', async () => {
    const { append, subscribe, waiting } = await setUp({ quietMs: 200 });
    let turn = 0;
    const writtenIn: number[] = [];
    class SlowLine extends Line {
      isSlow = false;
      override write(frames: Buffer): void {
        super.write(frames);
        if (!this.isSlow) return;
        writtenIn.push(turn);
        const until = performance.now() + 1;
        while (performance.now() < until);
      }
    }
    const lines = Array.from({ length: 40 }, () => new SlowLine());
    for (const line of lines) subscribe(line, { types: new Set(['run.created']), from: 'now' });
    await waiting(40);
    await append(created('r1')); // The last message of all, at the same time.
    for (const line of lines) line.isSlow = true;
    await append(progress('r1', 1));
    while (writtenIn.length < 40) {
      turn++;
      await new Promise(setImmediate);
    }
    expect(new Set(writtenIn).size).toBeGreaterThan(2);
    for (const line of lines) {
      const lives = line.items().filter((item) => item.type === 'stream.live' && item.seq === 2);
      expect(lives).toHaveLength(1);
    }
  });
});

describe('sockets that do not drain', () => {
  test('[D12] a reader with a full socket leaves its group with its cursor, and the others continue', async () => {
    const { append, subscribe, waiting, delivery } = await setUp();
    const [slow, quick] = [new Line(), new Line()];
    subscribe(slow);
    subscribe(quick);
    await waiting(2);
    await append(created('r1'));
    slow.isDrained = false;
    for (let i = 1; i <= 20; i++) await append(progress('r1', i), progress('r1', i + 50));
    expect(slow.seqs()).toEqual([1]);
    expect([...slow.readers].map(({ lag }) => lag)).toEqual([40]);
    expect(quick.seqs()).toEqual(upwards(1, 41));
    expect(delivery.waiting).toBe(1);
    slow.drain();
    await waiting(2);
    expect(slow.seqs()).toEqual(upwards(1, 41));
    await append(progress('r1', 99));
    expect(slow.writes.at(-1)).toBe(quick.writes.at(-1));
  });

  test('[D12] a burst over the push limit is read by each reader in pieces', async () => {
    const { append, subscribe, waiting } = await setUp();
    const lines = [new Line(), new Line()];
    for (const line of lines) subscribe(line);
    await waiting(2);
    const text = 'x'.repeat(2_000);
    await append(...upwards(1, 400).map((value) => progress('r1', value % 100, { message: text })));
    await waiting(2);
    for (const line of lines) {
      expect(line.seqs()).toEqual(upwards(1, 400));
      expect(Math.max(...line.writes.map(({ length }) => length))).toBeLessThan(80 * 1024);
    }
  });
});

test('[D12] the length of a piece includes the request ids', async () => {
  const { append, subscribe, waiting } = await setUp();
  const [alone, first, second] = [new Line(), new Line(), new Line()];
  const id = '\0'.repeat(200); // The longest id, six times as long in JSON.
  for (const line of [first, second]) subscribe(line, { from: 'now' }, id);
  await waiting(2);
  await append(...upwards(1, 1_000).map((value) => progress('r1', value % 100)));
  subscribe(alone, {}, id);
  await waiting(3);
  for (const line of [alone, first, second]) {
    expect(line.seqs(id as never)).toEqual(upwards(1, 1_000));
    expect(Math.max(...line.writes.map(({ length }) => length))).toBeLessThan(80 * 1024);
  }
});

test('[D60] readers that resume at a position of another reader read nothing for it, and a cursor of another row is a gap', async () => {
  const { log, append, subscribe, waiting } = await setUp();
  await append(created('r1'), progress('r1', 1), progress('r1', 2));
  const cursor = await cursorAt(log, 2);
  const looks = vi.spyOn(log, 'hashPrefixesAt');
  const lines = upwards(1, 4).map(() => new Line());
  for (const [index, line] of lines.entries()) {
    const last = index === 3 ? cursor.replace(/.{8}$/, '00000000') : cursor;
    subscribe(line, { lastEventId: last });
    await waiting(index + 1);
  }
  expect(looks.mock.calls).toEqual([[[2]], [[2]]]);
  expect(lines.slice(0, 3).map((line) => line.seqs())).toEqual([[3], [3], [3]]);
  expect(lines[3]?.items()[0]).toMatchObject({ type: 'stream.gap', reason: 'epoch_changed' });
});

test('[D60] readers that resume at one position together compare it once', async () => {
  const { log, append, subscribe, waiting } = await setUp();
  await append(created('r1'), progress('r1', 1), progress('r1', 2));
  const cursor = await cursorAt(log, 2);
  const looks = vi.spyOn(log, 'hashPrefixesAt');
  const lines = upwards(1, 4).map(() => new Line());
  for (const line of lines) subscribe(line, { lastEventId: cursor });
  await waiting(4);
  expect(looks.mock.calls).toEqual([[[2]]]);
  expect(lines.map((line) => line.seqs())).toEqual([[3], [3], [3], [3]]);
});

describe('ends', () => {
  test('[D13] a subscription that ends, in any way, leaves no waiter, leaves its transport, and sends nothing more', async () => {
    const { append, subscribe, waiting, delivery } = await setUp();
    const line = new Line();
    const parked = subscribe(line, {}, 1);
    const missing = subscribe(line, { scope: { kind: 'run', runId: 'nowhere' } }, 2);
    await waiting(2);
    line.isDrained = false;
    const stalled = subscribe(line, {}, 3);
    await new Promise(setImmediate);
    expect(line.readers.size).toBe(3);
    for (const { stop } of [parked, missing, stalled]) stop();
    expect(line.readers.size).toBe(0);
    expect(delivery.waiting).toBe(0);
    const sent = line.messages.length;
    line.drain();
    await append(created('r1'));
    await append(created('nowhere'));
    expect(line.messages.length).toBe(sent);
  });

  test('[D14] a closed server closes the socket with 1012; a wrong cursor and lost rights are errors of the subscription', async () => {
    const { append, subscribe, waiting, delivery } = await setUp();
    await append(created('r1'));
    const line = new Line();
    const wrong = subscribe(line, { lastEventId: 'none' });
    expect(await wrong.failure).toMatchObject({ code: 'CURSOR_INVALID' });
    const losing = subscribe(line, { scope: { kind: 'project', projectId: 'demo' } });
    await waiting(1);
    line.identify({ sub: 'eve', projects: ['other'], roles: ['viewer'] });
    expect(await losing.failure).toMatchObject({ code: 'FORBIDDEN' });
    expect([line.closeCode, line.readers.size, delivery.waiting]).toEqual([undefined, 0, 0]);
    line.identify(everyone);
    delivery.close();
    const late = new Line();
    const { stop } = subscribe(late);
    while (late.closeCode === undefined) await new Promise(setImmediate);
    expect(late.closeCode).toBe(1012);
    stop();
    expect(late.readers.size).toBe(0);
  });
});

test('[D1] with any joins, ends, stalls and publishes, each reader gets the matches of the log', async () => {
  const { log, append, subscribe, waiting, delivery } = await setUp();
  const projects = ['a', 'b'];
  const runs = ['r1', 'r2'];
  const scopes: EventQuery['scope'][] = [
    { kind: 'all' },
    { kind: 'project', projectId: 'a' },
    { kind: 'run', projectId: 'b', runId: 'r1' },
    { kind: 'user', userId: 'ada' },
  ];
  const isIn = (scope: Scope, event: RunEvent & { audience?: string[] | undefined }) =>
    scope.kind === 'all' ||
    (scope.kind === 'user' && (event.audience?.includes('ada') ?? false)) ||
    ('projectId' in scope &&
      scope.projectId === event.projectId &&
      (!('runId' in scope) || scope.runId === event.runId));
  const line = fc.nat(3);
  const action = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('append' as const),
        drafts: fc.array(
          fc.record({
            projectId: fc.constantFrom(...projects),
            runId: fc.constantFrom(...runs),
            isProgress: fc.boolean(),
            isForAda: fc.boolean(),
            size: fc.constantFrom(0, 0, 0, 200, 1_990),
          }),
          { minLength: 1, maxLength: 30 },
        ),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('join' as const),
        line,
        scope: fc.constantFrom(...scopes),
        isFiltered: fc.boolean(),
        from: fc.constantFrom('now' as const, 'start' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), nth: fc.nat() }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constantFrom('stall' as const, 'drain' as const, 'access' as const), line }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('pause' as const) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 40 }), async (actions) => {
      const lines = upwards(1, 4).map(() => new Line());
      const begin = log.head;
      const readers: { line: Line; id: number; after: number; query: Partial<EventQuery>; stop: () => unknown }[] = [];
      const appending: Promise<unknown>[] = [];
      let lastId = 0;
      for (const action of actions) {
        if (action.kind === 'append') {
          appending.push(
            append(
              ...action.drafts.map(({ projectId, runId, isProgress, isForAda, size }) => {
                const more = { projectId, ...(isForAda ? { audience: ['ada'] } : {}) };
                return isProgress
                  ? progress(runId, 1, { ...more, message: 'x'.repeat(size + 1) })
                  : created(runId, more);
              }),
            ),
          );
        } else if (action.kind === 'join') {
          const { scope, from } = action;
          const types = action.isFiltered ? new Set(['stage.progress']) : undefined;
          // Only events of this round: all rounds share the log.
          const lastEventId = from === 'start' ? encodeCursor(log.epoch, { seq: begin }) : undefined;
          const query: Partial<EventQuery> = { scope, types, from, lastEventId };
          const id = ++lastId;
          const { stop } = subscribe(lines[action.line] as Line, query, id);
          await Promise.resolve().then(() => undefined);
          readers.push({
            line: lines[action.line] as Line,
            id,
            after: from === 'start' ? begin : log.head,
            query,
            stop,
          });
        } else if (action.kind === 'leave') {
          const [left] = readers.splice(action.nth % Math.max(1, readers.length), 1);
          left?.stop();
        } else if (action.kind === 'stall') (lines[action.line] as Line).isDrained = false;
        else if (action.kind === 'drain') (lines[action.line] as Line).drain();
        else if (action.kind === 'access')
          for (const reader of (lines[action.line] as Line).readers) reader.recheckAccess();
        else await new Promise(setImmediate);
      }
      await Promise.all(appending);
      for (const each of lines) each.drain();
      while (
        delivery.waiting !== readers.length ||
        lines.some((each) => [...each.readers].some(({ lag }) => lag > 0))
      ) {
        for (const each of lines) each.drain();
        await new Promise(setImmediate);
      }
      const { records } = await readAll(log, begin);
      for (const { line, id, after, query, stop } of readers) {
        const expected = records
          .filter(({ seq, type }) => seq > after && (!query.types || query.types.has(type)))
          .filter(({ event }) => isIn(query.scope as Scope, event as RunEvent))
          .map(({ seq }) => seq);
        expect(line.seqs(id)).toEqual(expected);
        stop();
      }
      await waiting(0);
    }),
    { numRuns: 150, seed: 11 },
  );
});

async function readAll(log: Awaited<ReturnType<typeof openSqliteLog>>, after: number) {
  const records = [];
  for (let at = after; at < log.head; ) {
    const page = await log.read({ scope: { kind: 'all' }, after: at, limit: 1_000 });
    records.push(...page.records);
    at = page.scannedTo;
  }
  return { records };
}
