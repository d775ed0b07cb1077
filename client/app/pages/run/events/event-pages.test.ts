import { expect, test } from 'vitest';
import type { RunEvent } from '../../../../../shared/events.ts';
import { EventPages } from './event-pages.ts';

const event = (runSeq: number) => ({ type: 'run.started', runSeq }) as RunEvent;
const run = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => event(from + index));

/** Pages with requests that the test answers. */
function pagesByHand() {
  const requested: number[] = [];
  let answer: (events: RunEvent[]) => void = () => undefined;
  const pages = new EventPages((fromRunSeq) => {
    requested.push(fromRunSeq);
    return new Promise((resolve) => {
      answer = resolve;
    });
  });
  const reply = async (events: RunEvent[]) => {
    answer(events);
    await new Promise((resolve) => setTimeout(resolve));
  };
  return { pages, requested, reply };
}

const upTo = (from: number, to: number) => [run(from, to).map(({ runSeq }) => runSeq)];

test('[U6] dragging through a long run sends one request at a time, and the last one is for the visible rows', async () => {
  const { pages, requested, reply } = pagesByHand();
  pages.want(upTo(1_000, 1_030));
  for (let first = 2_000; first <= 90_000; first += 1_000) pages.want(upTo(first, first + 30));
  expect(requested).toEqual([1_000]);
  await reply(run(1_000, 1_030));
  expect(requested).toEqual([1_000, 90_000]);
  await reply(run(90_000, 90_030));
  expect(requested).toHaveLength(2);
  expect(pages.get(90_030)).toEqual(event(90_030));
});

test('[U6] live events are not fetched', async () => {
  const { pages, requested, reply } = pagesByHand();
  pages.put(run(51, 80));
  pages.want(upTo(60, 80));
  expect(requested).toEqual([]);
  pages.put(run(51, 100));
  pages.want(upTo(45, 100));
  expect(requested).toEqual([45]);
  await reply(run(45, 100));
  expect(requested).toEqual([45]);
});

test('[U6] [U51] the segments of a list with gaps are fetched one by one, each from its first missing event', async () => {
  const { pages, requested, reply } = pagesByHand();
  pages.want([
    [3, 9, 27],
    [400, 410],
  ]);
  await reply([event(3), event(9)]);
  await reply([event(27)]);
  await reply([event(400), event(410)]);
  expect(requested).toEqual([3, 27, 400]);
  expect(pages.isRemoved(27)).toBe(false);
});

test('[U6] an event counts as removed when an answer goes on after it, and is not requested again', async () => {
  const { pages, requested, reply } = pagesByHand();
  pages.want(upTo(40, 70));
  await reply(run(45, 75));
  expect([pages.isRemoved(44), pages.isRemoved(45)]).toEqual([true, false]);
  pages.want(upTo(40, 70));
  pages.want(upTo(30, 35));
  await reply([]);
  expect(pages.isRemoved(30)).toBe(true);
  pages.want(upTo(30, 70));
  expect(requested).toEqual([40, 30, 36]);
});

test('[U6] fetched events far from the visible rows are removed from memory', async () => {
  const { pages, reply } = pagesByHand();
  for (let first = 1; first < 40_000; first += 200) {
    pages.want(upTo(first, first + 199));
    await reply(run(first, first + 199));
  }
  expect(pages.get(1)).toBeUndefined();
  expect(pages.get(39_901)).toBeDefined();
});

test('[U6] live events far from the visible rows are removed from memory', () => {
  const { pages } = pagesByHand();
  for (let last = 500; last <= 40_000; last += 500) {
    pages.put(run(last - 499, last));
    pages.want(upTo(last - 30, last));
  }
  expect(pages.get(1)).toBeUndefined();
  expect(pages.get(40_000)).toBeDefined();
});
