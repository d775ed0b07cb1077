import { expect, test } from 'vitest';
import type { RunEvent } from '../../../../shared/events.ts';
import { EventPages } from './event-pages.ts';

const event = (runSeq: number) => ({ type: 'run.started', runSeq }) as RunEvent;
const run = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => event(from + index));

/** Pages whose requests are answered by hand. */
function pagesByHand() {
  const asked: number[] = [];
  let answer: (events: RunEvent[]) => void = () => undefined;
  const pages = new EventPages((fromRunSeq) => {
    asked.push(fromRunSeq);
    return new Promise((resolve) => {
      answer = resolve;
    });
  });
  const reply = async (events: RunEvent[]) => {
    answer(events);
    await new Promise((resolve) => setTimeout(resolve));
  };
  return { pages, asked, reply };
}

test('[U6] who drags through a long run is given what it ends up looking at, by one request at a time', async () => {
  const { pages, asked, reply } = pagesByHand();
  pages.want(1_000, 1_030);
  for (let first = 2_000; first <= 90_000; first += 1_000) pages.want(first, first + 30);
  expect(asked).toEqual([900]);
  await reply(run(900, 1_099));
  expect(asked).toEqual([900, 89_900]);
  await reply(run(89_900, 90_099));
  expect(asked).toHaveLength(2);
  expect(pages.get(90_030)).toEqual(event(90_030));
});

test('[U6] what came by itself is not fetched', async () => {
  const { pages, asked, reply } = pagesByHand();
  pages.put(run(51, 80));
  pages.want(60, 80);
  expect(asked).toEqual([]);
  pages.put(run(51, 100));
  pages.want(45, 100);
  expect(asked).toEqual([1]);
  await reply(run(1, 200));
  expect(asked).toEqual([1]);
});

test('[U6] an event is gone only when history begins after it', async () => {
  const { pages, asked, reply } = pagesByHand();
  pages.want(150, 180);
  await reply(run(50, 249));
  expect([pages.isGone(49), pages.isGone(150)]).toEqual([false, false]);
  pages.want(40, 70);
  await reply(run(45, 244));
  expect([pages.isGone(44), pages.isGone(45)]).toEqual([true, false]);
  pages.want(1, 30);
  expect(asked).toEqual([50, 1]);
});

test('[U6] of a run of millions, what is far from the reader is let go', async () => {
  const { pages, reply } = pagesByHand();
  for (let first = 101; first < 40_000; first += 200) {
    pages.want(first, first + 30);
    await reply(run(first - 100, first + 99));
  }
  expect(pages.get(1)).toBeUndefined();
  expect(pages.get(39_901)).toBeDefined();
});

test('[U6] nor does who only follows keep all that came by', () => {
  const { pages } = pagesByHand();
  for (let last = 500; last <= 40_000; last += 500) {
    pages.put(run(last - 499, last));
    pages.want(last - 30, last);
  }
  expect(pages.get(1)).toBeUndefined();
  expect(pages.get(40_000)).toBeDefined();
});

test('[U6] what the server does not have is not asked for over and over', async () => {
  const asked: number[] = [];
  const pages = new EventPages(async (fromRunSeq) => {
    if (asked.push(fromRunSeq) > 10) throw new Error('asked for over and over');
    return run(1, 10);
  });
  pages.want(70, 90);
  await new Promise((resolve) => setTimeout(resolve));
  expect(asked).toEqual([1]);
});

test('[U6] no answer says anything of what the reader came to want after it was asked for', async () => {
  const { pages, asked, reply } = pagesByHand();
  pages.want(150, 180);
  pages.want(400, 430);
  await reply([]);
  expect([pages.isGone(180), pages.isGone(181)]).toEqual([true, false]);
  expect(asked).toEqual([50, 300]);
});
