import { expect, onTestFinished, test, vi } from 'vitest';
import { FrameScheduler } from './frame-scheduler.ts';

/** Defines `requestAnimationFrame` without `document`, as in React Native and in workers. Frames run when `paint` is called. */
function withoutDocument() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const frames = new Map<number, () => void>();
  let lastId = 0;
  vi.stubGlobal('requestAnimationFrame', (callback: () => void) => frames.set(++lastId, callback) && lastId);
  vi.stubGlobal('cancelAnimationFrame', (id: number) => frames.delete(id));
  onTestFinished(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });
  return { paint: () => [...frames.values()].map((frame) => frame()), frames };
}

test('[H6] without a document, a frame that the platform does not run is run by the timer', () => {
  const { paint, frames } = withoutDocument();
  const scheduler = new FrameScheduler();
  const calls: string[] = [];
  scheduler.add(() => calls.push('painted'));
  paint();
  expect(calls).toEqual(['painted']);
  scheduler.add(() => calls.push('in the background'));
  vi.runAllTimers();
  expect(calls).toEqual(['painted', 'in the background']);
  expect(frames.size).toBe(0);
});

test('[H6] a callback that throws is reported, and the other callbacks of the frame run', () => {
  const { paint } = withoutDocument();
  const reported = vi.fn();
  vi.stubGlobal('navigator', { userAgent: 'Mozilla/5.0' });
  vi.stubGlobal('reportError', reported);
  const scheduler = new FrameScheduler();
  const calls: string[] = [];
  const failure = new Error('of the application');
  scheduler.add(() => {
    throw failure;
  });
  const second = () => calls.push('second');
  const third = () => calls.push('third');
  scheduler.add(() => void scheduler.delete(third));
  scheduler.add(second);
  scheduler.add(third);
  paint();
  expect(calls).toEqual(['second']);
  expect(reported.mock.calls).toEqual([[failure]]);
});
