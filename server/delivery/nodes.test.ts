import { setImmediate } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { foldOf } from '../../shared/event-table.ts';
import { type RunEvent, runwireEvents } from '../../shared/events.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import { tombstoneOf } from '../../shared/tombstone.ts';
import { created, everyone, progress } from '../../tests/support/harness.ts';
import { nodeOf } from '../../tests/support/node-of-log.ts';
import type { Principal } from '../auth/principal.ts';
import type { ReadyDraft } from '../event-log/contract/log.ts';
import { cursorAt, decodeCursor, encodeCursor } from '../event-log/cursor.ts';
import { openSqliteLog } from '../event-log/sqlite/log.ts';
import { Delivery } from './delivery.ts';
import type { DirectSubscription } from './direct.ts';
import type { EventQuery } from './events.ts';
import type { AttachedReader, FrameSink, Transport } from './transport.ts';

/** Delivery on a node that is behind its log, or after a change of the log's history. */

type Item = RunEvent | StreamSignal;

class Line implements Transport {
  principal: Principal = everyone;
  isDrained = true;
  sink: FrameSink | undefined;
  closeCode: number | undefined;
  readonly readers = new Set<AttachedReader>();
  readonly received: [cursor: string, item: Item][] = [];
  #drained: (() => void)[] = [];

  drained(): Promise<void> {
    return new Promise((resolve) => this.#drained.push(resolve));
  }
  drain(): void {
    this.isDrained = true;
    for (const resolve of this.#drained.splice(0)) resolve();
  }
  close(code: number): void {
    this.closeCode = code;
  }
  attach(reader: AttachedReader): void {
    this.readers.add(reader);
  }
  detach(reader: AttachedReader): void {
    this.readers.delete(reader);
  }

  get items(): Item[] {
    return this.received.map(([, item]) => item);
  }
  get seqs(): number[] {
    return this.items.flatMap((item) => (isSignal(item) ? [] : [item.seq]));
  }
  get gaps(): object[] {
    return this.items.filter((item) => item.type === 'stream.gap');
  }
  async until(holds: (items: Item[]) => boolean): Promise<void> {
    while (!holds(this.items)) await setImmediate();
  }
}

/** A line with a sink, which a fan-out group can write to. */
function directLine(): Line {
  const line = new Line();
  const write = (frames: Buffer) => {
    for (const text of textsOf(frames)) {
      const { result } = JSON.parse(text) as { result: { data: { id: string; data: Item } } };
      line.received.push([result.data.id, result.data.data]);
    }
  };
  const sink = { write, groups: 0, cork: () => undefined, uncork: () => undefined };
  line.sink = Object.defineProperty(sink as never as FrameSink, 'isDrained', { get: () => line.isDrained });
  return line;
}

/** Payloads of unmasked text frames. */
function textsOf(frames: Buffer): string[] {
  const texts: string[] = [];
  for (let at = 0; at < frames.length; ) {
    const short = frames[at + 1] as number;
    const size = short < 126 ? short : frames.readUInt16BE(at + 2);
    const head = short < 126 ? 2 : 4;
    texts.push(frames.toString('utf8', at + head, at + head + size));
    at += head + size;
  }
  return texts;
}

let lastEventId = 0;
async function setUp() {
  const log = await openSqliteLog({ path: ':memory:', fold: foldOf(runwireEvents) as never });
  const node = nodeOf(log);
  let delivery = new Delivery({ log: node });
  node.subscribe((records) => delivery.committed(records));
  node.onEpoch(() => delivery.renewed());
  log.integrity.onErased((record) => delivery.erased(record));
  onTestFinished(async () => {
    delivery.close();
    await log.close();
  });
  /** Replaces the delivery with one that has no event in memory. */
  const restart = () => {
    delivery.close();
    delivery = new Delivery({ log: node });
  };
  const append = (...drafts: object[]) =>
    log.append({
      actor: 'ada',
      drafts: drafts.map(
        (draft) =>
          ({ timestamp: '2026-01-01T00:00:00.000Z', eventId: `e${++lastEventId}`, ...draft }) as unknown as ReadyDraft,
      ),
    });
  const erase = (seq: number) =>
    log.integrity.erase({
      ...{ seq, by: 'ada', reason: 'asked for', mayErase: () => true },
      tombstone: tombstoneOf(runwireEvents),
    });
  const subscribe = (line: Line, query: Partial<EventQuery> = {}): Line => {
    const whole = { scope: { kind: 'all' }, from: 'now', conflate: false, ...query } as const;
    const subscription = delivery.events<RunEvent>(line, whole, undefined);
    if (line.sink) {
      (subscription as unknown as DirectSubscription).begin({ id: 1, failed: () => undefined });
    } else {
      void (async () => {
        for await (const [cursor, item] of subscription) line.received.push([cursor, item]);
      })();
    }
    return line;
  };
  const waiting = async (count: number) => {
    while (delivery.waiting !== count) await setImmediate();
  };
  return { log, node, append, erase, subscribe, waiting, restart };
}

const kinds = [
  ['a group', directLine],
  ['a reader that is asked item by item', () => new Line()],
] as const;
const live = (items: Item[]) => items.at(-1)?.type === 'stream.live';

describe.each(kinds)('with %s', (_, line) => {
  test('[D30] a cursor beyond the head of its node waits until the node has the position, and gives no gap', async () => {
    const { log, node, append, subscribe } = await setUp();
    await append(created('r1'), progress('r1', 1), progress('r1', 2), progress('r1', 3));
    node.catchUp(1);
    const cursor = await cursorAt(log, 3);
    const reader = subscribe(line(), { lastEventId: cursor });
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    node.catchUp(2);
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    expect(reader.items).toEqual([]);
    node.catchUp();
    await reader.until(live);
    expect(reader.items).toMatchObject([{ seq: 4 }, { type: 'stream.live', seq: 4 }]);
  });

  test('[D30] a node that does not reach a position of the log in time ends the socket, and gives no gap', async () => {
    const { log, node, append, subscribe } = await setUp();
    await append(created('r1'), progress('r1', 1), progress('r1', 2));
    node.catchUp(1);
    Object.assign(node.known, { reached: async () => false });
    const reader = subscribe(line(), { lastEventId: await cursorAt(log, 3) });
    while (reader.closeCode === undefined && reader.items.length === 0) await setImmediate();
    expect([reader.closeCode, reader.items]).toEqual([1012, []]);
  });

  test('[D30] a cursor that no node has gives the gap `ahead`, and one of another history `epoch_changed`', async () => {
    const { log, node, append, subscribe } = await setUp();
    await append(created('r1'), progress('r1', 1));
    node.catchUp(1);
    const beyond = subscribe(line(), { lastEventId: encodeCursor(log.epoch, { seq: 9, hashPrefix: '01234567' }) });
    await beyond.until((items) => items.length > 0);
    expect(beyond.items[0]).toMatchObject({ type: 'stream.gap', reason: 'ahead', toSeq: 1 });
    const other = subscribe(line(), { lastEventId: encodeCursor(log.epoch, { seq: 2, hashPrefix: '01234567' }) });
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    node.catchUp();
    await other.until((items) => items.length > 0);
    expect(other.items[0]).toMatchObject({ type: 'stream.gap', reason: 'epoch_changed', toSeq: 2 });
  });

  test('[D31] a reader that runs while the head of its node moves does not go beyond the commits of its delivery', async () => {
    const { node, append, subscribe, waiting, restart } = await setUp();
    await append(created('r1'));
    node.catchUp();
    restart();
    const reader = subscribe(line(), { from: 'start' });
    await waiting(1);
    await append(progress('r1', 1), progress('r1', 2));
    node.known.head = 3;
    for (const each of reader.readers) each.recheckAccess();
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    expect(reader.seqs).toEqual([1]);
    await waiting(1);
    node.catchUp();
    await reader.until((items) => (items.at(-1) as RunEvent).seq === 3);
    expect(reader.seqs).toEqual([1, 2, 3]);
  });

  test('[D32] a reader behind a trim of another node gets a gap up to the oldest event of the page', async () => {
    const { log, node, append, subscribe, restart } = await setUp();
    await append(created('r1'), progress('r1', 1), progress('r1', 2));
    node.known.oldest = 1;
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 });
    onTestFinished(() => void vi.useRealTimers());
    await append(progress('r1', 3));
    await log.trim(Date.now() - 1_000);
    expect([log.oldest, node.oldest]).toEqual([4, 1]);
    node.catchUp(2); // No gap goes beyond the head of the node.
    restart();
    const behind = subscribe(line(), { from: 'start' });
    await behind.until((items) => items.length > 0);
    expect(behind.items[0]).toMatchObject({ type: 'stream.gap', reason: 'expired', fromSeq: 1, toSeq: 2 });
    node.catchUp(4);
    restart();
    const reader = subscribe(line(), { lastEventId: encodeCursor(log.epoch, { seq: 1 }) });
    await reader.until(live);
    expect(reader.items).toMatchObject([
      { type: 'stream.gap', reason: 'expired', fromSeq: 2, toSeq: 3 },
      { seq: 4 },
      { type: 'stream.live', seq: 4 },
    ]);
  });

  test('[D40] after records that the node never had, a waiting reader gets a gap and then every record', async () => {
    const { log, node, append, subscribe, waiting } = await setUp();
    await append(created('r1'), progress('r1', 1));
    node.catchUp();
    const reader = subscribe(line());
    await waiting(1);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 });
    onTestFinished(() => void vi.useRealTimers());
    await append(progress('r1', 2), progress('r1', 3), progress('r1', 4));
    await log.trim(Date.now() - 1_000);
    node.skip(4);
    node.catchUp();
    await reader.until((items) => items.some((item) => !isSignal(item) && item.seq === 5));
    await append(progress('r1', 5), progress('r1', 6));
    node.catchUp();
    await reader.until((items) => items.some((item) => !isSignal(item) && item.seq === 7));
    expect(reader.gaps).toMatchObject([{ reason: 'expired', fromSeq: 3, toSeq: 4 }]);
    expect(reader.seqs).toEqual([5, 6, 7]);
    const other = subscribe(line(), { lastEventId: encodeCursor(log.epoch, { seq: 5 }) });
    await other.until(live);
    expect(other.seqs).toEqual([6, 7]);
  });

  test('[D33] a page from before an erasure is read again', async () => {
    const { node, log, append, erase, subscribe, restart } = await setUp();
    await append(created('r1'), progress('r1', 1, { message: 'Jane Doe' }), progress('r1', 2));
    const { read } = log;
    let reads = 0;
    log.read = async (query) => {
      const page = await read.call(log, query);
      if (++reads === 1) await erase(2);
      return page;
    };
    node.catchUp();
    restart();
    const reader = subscribe(line(), { from: 'start' });
    await reader.until(live);
    expect([reader.seqs, reads]).toEqual([[1, 2, 3], 2]);
    expect(JSON.stringify(reader.items)).not.toContain('Jane Doe');
  });

  test('[D34] every reader gets the gap `epoch_changed` when the history changes: one that waits, one with a full socket, one that replays', async () => {
    const { node, append, subscribe, waiting } = await setUp();
    await append(created('r1'), ...Array.from({ length: 5 }, (_, n) => progress('r1', n)));
    node.catchUp(5);
    const [waits, blocked, ahead] = [line(), line(), line()];
    subscribe(waits, { from: 'start' });
    await waits.until(live);
    blocked.isDrained = false;
    subscribe(blocked, { from: 'start' });
    subscribe(ahead, { lastEventId: await cursorAt(node, 6) });
    await waiting(1);
    node.renew('abcdef', 3);
    blocked.drain();
    for (const reader of [waits, blocked, ahead]) {
      await reader.until((items) => items.some(({ type }) => type === 'stream.gap') && live(items));
      const gap = reader.received.find(([, { type }]) => type === 'stream.gap');
      expect(gap?.[1]).toMatchObject({ type: 'stream.gap', reason: 'epoch_changed', fromSeq: 1, toSeq: 3 });
      expect(decodeCursor(gap?.[0] as string)).toMatchObject({ epoch: 'abcdef', seq: 3 });
      expect(reader.gaps).toHaveLength(1);
    }
    expect(waits.seqs).toEqual([1, 2, 3, 4, 5]);
    expect([...blocked.seqs, ...ahead.seqs]).toEqual([]);
    node.catchUp(4);
    await waits.until((items) => (items.at(-1) as RunEvent).seq === 4 && !live(items));
    const [cursor] = waits.received.at(-1) as [string, Item];
    expect(decodeCursor(cursor)).toMatchObject({ epoch: 'abcdef', seq: 4 });
    expect(blocked.seqs).toEqual([4]);
  });

  test('[D35] a node that is not current delivers nothing, and then each event once', async () => {
    const { node, append, subscribe, waiting } = await setUp();
    await append(created('r1'), progress('r1', 1));
    node.catchUp(1);
    const reader = subscribe(line(), { from: 'start' });
    await reader.until(live);
    await waiting(1);
    node.known.isCurrent = false;
    node.catchUp(2);
    const late = subscribe(line(), { from: 'start' });
    await append(progress('r1', 2));
    node.catchUp(3);
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    expect([reader.seqs, late.items]).toEqual([[1], []]);
    node.known.isCurrent = true;
    await late.until(live);
    await reader.until((items) => (items.at(-1) as RunEvent).seq === 3);
    expect([reader.seqs, late.seqs]).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
    expect(reader.gaps).toEqual([]);
  });

  test('[D35] a node that stays out of date closes the sockets of its readers with 1012', async () => {
    const { node, subscribe } = await setUp();
    node.known.isCurrent = false;
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const reader = subscribe(line());
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    expect(reader.closeCode).toBeUndefined();
    vi.advanceTimersByTime(11_000);
    while (reader.closeCode === undefined) await setImmediate();
    expect([reader.closeCode, reader.items]).toEqual([1012, []]);
  });
});
