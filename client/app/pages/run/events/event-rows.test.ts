import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type EventFilter, eventMatcher } from '../../../../../shared/event-filter.ts';
import { EventPositionsBuilder } from '../../../../../shared/event-positions.ts';
import type { RunEvent } from '../../../../../shared/events.ts';
import { EventRows } from './event-rows.ts';

const DAY_MS = 86_400_000;
const dayOf = (at: number) => Math.floor(at / DAY_MS);
type Made = { stage: string; isProgress: boolean; minutes: number };

const madeEvents = fc.array(
  fc.record({
    stage: fc.constantFrom('a', 'a', 'a', 'b'),
    isProgress: fc.boolean().chain((is) => fc.constantFrom(is, true)),
    minutes: fc.constantFrom(0, 0, 0, 5, 700),
  }),
  { minLength: 1, maxLength: 120 },
);

function eventsOf(made: readonly Made[]): RunEvent[] {
  let at = Date.parse('2026-01-01T00:00:00Z');
  return made.map(({ stage, isProgress, minutes }, index) => {
    at += minutes * 60_000;
    const type = isProgress ? 'stage.progress' : 'stage.started';
    const fields = { type, stageId: stage, runSeq: index + 1, timestamp: new Date(at).toISOString() };
    return (isProgress ? { ...fields, progress: index % 100 } : fields) as RunEvent;
  });
}

/** As the server answers, in parts of a few events. */
const serverOf = (events: readonly RunEvent[], filter: EventFilter, atOnce: number, removed = 0) => {
  return async (from: number, to: number) => {
    const kept = events.slice(removed);
    const seen = kept.filter(({ runSeq }) => runSeq >= from && runSeq <= to).slice(0, atOnce);
    const found = new EventPositionsBuilder();
    for (const event of seen.filter(eventMatcher(filter))) found.add(event);
    const oldest = Math.min(to + 1, Math.max(from, removed + 1));
    return { ...found.list(), through: seen.at(-1)?.runSeq ?? (oldest > to ? to : from - 1), oldest };
  };
};

/** The rows of a list, computed at once. */
function expectedRows(events: readonly RunEvent[], isFolding: boolean): string[] {
  const rows: string[] = [];
  const stageOf = (event?: RunEvent) => (event?.type === 'stage.progress' ? event.stageId : undefined);
  for (let index = 0; index < events.length; ) {
    const event = events[index] as RunEvent;
    const before = events[index - 1];
    const isNewDay = before && dayOf(Date.parse(before.timestamp)) !== dayOf(Date.parse(event.timestamp));
    if (isNewDay) rows.push(`day ${event.runSeq}`);
    let end = index + 1;
    while (stageOf(event) !== undefined && stageOf(events[end]) === stageOf(event)) end++;
    if (isFolding && end - index >= 5) {
      rows.push(`progress ${event.runSeq}–${events[end - 1]?.runSeq}`);
      index = end;
    } else {
      rows.push(`event ${event.runSeq}`);
      index++;
    }
  }
  return rows;
}

const rowsOf = (rows: EventRows) =>
  Array.from({ length: rows.count }, (_, index) => {
    const row = rows.at(index);
    return row?.kind === 'progress' ? `progress ${row.runSeq}–${row.lastRunSeq}` : `${row?.kind} ${row?.runSeq}`;
  });
const settled = async (rows: EventRows) => {
  for (let turn = 0; turn < 2_000 && !rows.isComplete; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(rows.isComplete).toBe(true);
};

test('[U51] [U53] the rows are those of the whole list, however it was fetched and whatever arrived live', async () => {
  await fc.assert(
    fc.asyncProperty(
      madeEvents,
      fc.constantFrom<EventFilter>({}, { stageId: 'a' }, { types: ['stage.started'] }),
      fc.boolean(),
      fc.integer({ min: 1, max: 50 }),
      fc.nat(120),
      fc.integer({ min: 1, max: 9 }),
      async (made, filter, isFolding, atOnce, cut, atOnceLive) => {
        const events = eventsOf(made);
        const first = Math.max(1, Math.min(cut, events.length));
        const rows = new EventRows(serverOf(events.slice(0, first), filter, atOnce), { filter, isFolding, dayOf });
        rows.wantAll();
        rows.update(first, []);
        await settled(rows);
        for (let end = first; end < events.length; ) {
          end = Math.min(events.length, end + atOnceLive);
          rows.update(end, events.slice(Math.max(0, end - 50), end));
        }
        const matching = events.filter(eventMatcher(filter));
        expect(rowsOf(rows)).toEqual(expectedRows(matching, isFolding));
        expect(rows.found).toBe(matching.length);
        for (const { runSeq } of matching) {
          const row = rows.at(rows.rowOf(runSeq));
          const isIn = row?.kind === 'progress' && row.runSeq <= runSeq && runSeq <= row.lastRunSeq;
          expect(isIn || (row?.kind === 'event' && row.runSeq === runSeq)).toBe(true);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('[U51] parts of 10,000 events are fetched from the latest on, and earlier ones only when they are wanted', async () => {
  const made = Array.from({ length: 25_000 }, (_, at) => ({ stage: at % 2 ? 'a' : 'b', isProgress: true, minutes: 0 }));
  const events = eventsOf(made);
  const requested: string[] = [];
  const answer = serverOf(events, {}, 4_000);
  const fetch = async (from: number, to: number) => {
    requested.push(`${from}–${to}`);
    return answer(from, to);
  };
  const rows = new EventRows(fetch, { filter: {}, isFolding: true, dayOf });
  rows.update(25_000, []);
  while (rows.found < 10_000) await new Promise((resolve) => setImmediate(resolve));
  expect(requested).toEqual(['15001–25000', '19001–25000', '23001–25000']);
  expect([rows.low, rows.isComplete]).toEqual([15_001, false]);
  rows.wantAll();
  await settled(rows);
  expect(requested).toContain('5001–15000');
  expect([rows.count, rows.low]).toEqual([25_000, 1]);
});

test('[U53] a stretch opens in place and folds again; a link to an event in it opens it', async () => {
  const made = Array.from({ length: 20 }, (_, at) => ({ stage: 'a', isProgress: at % 10 !== 0, minutes: 0 }));
  const rows = new EventRows(serverOf(eventsOf(made), {}, 100), { filter: {}, isFolding: true, dayOf });
  rows.update(20, []);
  await settled(rows);
  expect(rowsOf(rows)).toEqual(['event 1', 'progress 2–10', 'event 11', 'progress 12–20']);
  expect(rows.at(1)).toMatchObject({ stretch: { count: 9, first: { percent: 1 }, last: { percent: 9 } } });
  rows.toggle(2);
  expect(rowsOf(rows).slice(0, 4)).toEqual(['event 1', 'progress 2–10', 'event 2', 'event 3']);
  expect(rows.count).toBe(13);
  rows.toggle(2);
  rows.reveal(15);
  expect(rowsOf(rows).slice(3, 6)).toEqual(['progress 12–20', 'event 12', 'event 13']);
  expect(rows.at(rows.rowOf(15))).toEqual({ kind: 'event', runSeq: 15 });
});

test('[U51] a list that ends at an earlier event has the rows up to it', async () => {
  const made = Array.from({ length: 20 }, (_, at) => ({ stage: 'a', isProgress: at % 10 !== 0, minutes: 0 }));
  const rows = new EventRows(serverOf(eventsOf(made), {}, 100), { filter: {}, isFolding: false, dayOf });
  rows.update(20, []);
  await settled(rows);
  expect([rows.countUpTo(7), rows.foundUpTo(7), rows.countUpTo(20)]).toEqual([7, 7, 20]);
});

test('[U6] events that retention has removed are no rows, and the list knows the oldest one', async () => {
  const made = Array.from({ length: 20 }, () => ({ stage: 'a', isProgress: false, minutes: 0 }));
  const rows = new EventRows(serverOf(eventsOf(made), {}, 7, 12), { filter: {}, isFolding: true, dayOf });
  rows.update(20, []);
  await settled(rows);
  expect([rows.count, rows.oldest]).toEqual([8, 13]);
});

test('[U53] stretches that are not folded are not kept, however many stages alternate', () => {
  const found = new EventPositionsBuilder(5);
  const add = (count: number, stageOf: (at: number) => string) => {
    const made = Array.from({ length: count }, (_, at) => ({ stage: stageOf(at), isProgress: true, minutes: 0 }));
    const part = new EventPositionsBuilder();
    for (const event of eventsOf(made)) part.add(event);
    found.append(part.list());
    for (const event of eventsOf(made)) found.add(event);
  };
  add(1_000, (at) => `${at % 7}`);
  add(1_000, (at) => `${(at >> 1) % 7}`);
  expect(found.runSeqs).toHaveLength(4_000);
  // The first, the last, and none between.
  expect(found.progress).toHaveLength(2);
  add(10, () => 'a');
  expect(found.progress.map(({ count }) => count)).toEqual([1, 20]);
});
