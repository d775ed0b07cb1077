import { expect, test } from 'vitest';
import { UserCalls } from './user-calls.ts';

/** Begins calls, and notes which of them run. */
function beginAll(calls: UserCalls, user: string, count: number, signal?: AbortSignal) {
  const running: (() => void)[] = [];
  const errors: unknown[] = [];
  for (let index = 0; index < count; index++) {
    calls.begin(user, signal).then(
      (end) => running.push(end),
      (error) => errors.push(error),
    );
  }
  return { running, errors };
}

test('[W22] 16 calls of a user run, 240 wait for them, and the next is refused; another user is not held up', async () => {
  const calls = new UserCalls();
  const { running, errors } = beginAll(calls, 'ann', 257);
  await new Promise(setImmediate);
  expect(running.length).toBe(16);
  expect(errors).toEqual([expect.objectContaining({ code: 'RATE_LIMITED' })]);
  const end = await calls.begin('bob', undefined);
  end();
  running[0]?.();
  running[0]?.(); // The end of a call counts once.
  await new Promise(setImmediate);
  expect(running.length).toBe(17);
  for (let index = 1; index < 256; index++) {
    running[index]?.();
    await new Promise(setImmediate);
  }
  expect(running.length).toBe(256);
  expect(calls.size).toBe(0);
});

test('[W22] a waiting call gives up its place when its client leaves', async () => {
  const calls = new UserCalls();
  const leaving = new AbortController();
  const { running } = beginAll(calls, 'ann', 16);
  const waiting = beginAll(calls, 'ann', 240, leaving.signal);
  await new Promise(setImmediate);
  leaving.abort();
  const later = beginAll(calls, 'ann', 1);
  await new Promise(setImmediate);
  expect(waiting.errors.length).toBe(240);
  await expect(calls.begin('ann', leaving.signal)).rejects.toBe(leaving.signal.reason);
  for (const end of running) end();
  await new Promise(setImmediate);
  expect(later.running.length).toBe(1);
  later.running[0]?.();
  expect(calls.size).toBe(0);
});
