import { expect, test, vi } from 'vitest';
import { RunwireError } from '../../shared/errors.ts';
import type { EventCounts } from '../../shared/event-positions.ts';
import { RunCounter } from './run-counts.ts';

const event = (runSeq: number, type = 'stage.progress') => ({ type, runSeq, actor: 'ci', stageId: 's' });
const answer = (from: number, through: number, isComplete: boolean): EventCounts => ({
  types: { 'stage.progress': through - from + 1 },
  stages: { s: through - from + 1 },
  actors: { ci: through - from + 1 },
  through,
  isComplete,
});
const totalOf = (counter: RunCounter) => counter.getState().counts?.types.get('stage.progress');

test('[R21] counts come in parts, and live events are added, each once', async () => {
  const requested: number[] = [];
  const counter = new RunCounter(async (from) => {
    requested.push(from);
    return answer(from, from === 1 ? 100 : 150, from !== 1);
  });
  counter.add(event(150));
  counter.start();
  await expect.poll(() => totalOf(counter)).toBe(150);
  expect(requested).toEqual([1, 101]);
  for (const runSeq of [149, 150, 151, 152, 152]) counter.add(event(runSeq));
  await expect.poll(() => totalOf(counter)).toBe(152);
  expect(counter.getState().counts).toMatchObject({ through: 152 });
  expect(counter.getState().counts?.actors.get('ci')).toBe(152);
  expect(counter.getState().counts?.stages.get('s')).toBe(152);
});

test('[R21] events that are missing before a live one are counted by the server', async () => {
  let through = 10;
  const counter = new RunCounter(async (from) => answer(from, through, true));
  counter.start();
  await expect.poll(() => totalOf(counter)).toBe(10);
  through = 20;
  counter.add(event(20));
  await expect.poll(() => totalOf(counter)).toBe(20);
});

test('[R21] a failure is shown, and tried again if the server was away; after the end nothing is requested', async () => {
  vi.useFakeTimers();
  try {
    let requests = 0;
    const counter = new RunCounter(async (from) => {
      if (++requests === 1) throw new RunwireError('UNAVAILABLE', 'away');
      return answer(from, 5, true);
    });
    const end = counter.resume();
    counter.start();
    await vi.advanceTimersByTimeAsync(10);
    expect(counter.getState().error).toMatchObject({ code: 'UNAVAILABLE' });
    await vi.advanceTimersByTimeAsync(3_000);
    expect([totalOf(counter), counter.getState().error]).toEqual([5, null]);
    end();
    counter.start();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(requests).toBe(2);
  } finally {
    vi.useRealTimers();
  }
});
