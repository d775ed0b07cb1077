import { expect, test } from 'vitest';
import type { RunEvent } from '../../../../shared/events.ts';
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

test('[U6] dragging through a long run sends one request at a time, and the last one is for the visible rows', async () => {
  const { pages, requested, reply } = pagesByHand();
  pages.want(1_000, 1_030);
  for (let first = 2_000; first <= 90_000; first += 1_000) pages.want(first, first + 30);
  expect(requested).toEqual([900]);
  await reply(run(900, 1_099));
  expect(requested).toEqual([900, 89_900]);
  await reply(run(89_900, 90_099));
  expect(requested).toHaveLength(2);
  expect(pages.get(90_030)).toEqual(event(90_030));
});

test('[U6] live events are not fetched', async () => {
  const { pages, requested, reply } = pagesByHand();
  pages.put(run(51, 80));
  pages.want(60, 80);
  expect(requested).toEqual([]);
  pages.put(run(51, 100));
  pages.want(45, 100);
  expect(requested).toEqual([1]);
  await reply(run(1, 200));
  expect(requested).toEqual([1]);
});

test('[U6] an event counts as removed only when the history begins after it', async () => {
  const { pages, requested, reply } = pagesByHand();
  pages.want(150, 180);
  await reply(run(50, 249));
  expect([pages.isRemoved(49), pages.isRemoved(150)]).toEqual([false, false]);
  pages.want(40, 70);
  await reply(run(45, 244));
  expect([pages.isRemoved(44), pages.isRemoved(45)]).toEqual([true, false]);
  pages.want(1, 30);
  expect(requested).toEqual([50, 1]);
});

test('[U6] fetched events far from the visible rows are removed from memory', async () => {
  const { pages, reply } = pagesByHand();
  for (let first = 101; first < 40_000; first += 200) {
    pages.want(first, first + 30);
    await reply(run(first - 100, first + 99));
  }
  expect(pages.get(1)).toBeUndefined();
  expect(pages.get(39_901)).toBeDefined();
});

test('[U6] live events far from the visible rows are removed from memory', () => {
  const { pages } = pagesByHand();
  for (let last = 500; last <= 40_000; last += 500) {
    pages.put(run(last - 499, last));
    pages.want(last - 30, last);
  }
  expect(pages.get(1)).toBeUndefined();
  expect(pages.get(40_000)).toBeDefined();
});

test('[U6] an event that the server does not have is requested once', async () => {
  const requested: number[] = [];
  const pages = new EventPages(async (fromRunSeq) => {
    if (requested.push(fromRunSeq) > 10) throw new Error('requested more than once');
    return run(1, 10);
  });
  pages.want(70, 90);
  await new Promise((resolve) => setTimeout(resolve));
  expect(requested).toEqual([1]);
});

test('[U6] an answer marks only events that were wanted at its request as removed', async () => {
  const { pages, requested, reply } = pagesByHand();
  pages.want(150, 180);
  pages.want(400, 430);
  await reply([]);
  expect([pages.isRemoved(180), pages.isRemoved(181)]).toEqual([true, false]);
  expect(requested).toEqual([50, 300]);
});
