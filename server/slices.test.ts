import { expect, test } from 'vitest';
import { Slices } from './slices.ts';

test('[L27] a user with many queued pieces delays a piece of another user by one piece', async () => {
  const slices = new Slices();
  const done: string[] = [];
  const queue = (user: string | undefined, name: string) => slices.run(() => done.push(name), { user });
  const all = [
    ...Array.from({ length: 1_000 }, (_, index) => queue('ann', `ann ${index}`)),
    queue('bob', 'bob 0'),
    queue(undefined, 'server 0'),
    queue('bob', 'bob 1'),
  ];
  await Promise.all(all);
  expect(done.slice(0, 7)).toEqual(['ann 0', 'bob 0', 'server 0', 'ann 1', 'bob 1', 'ann 2', 'ann 3']);
  expect(done).toHaveLength(1_003);
});

test('[L27] a piece that is queued by a piece of the same user waits for the other users', async () => {
  const slices = new Slices();
  const done: string[] = [];
  const ann = async () => {
    for (let index = 0; index < 3; index++) await slices.run(() => done.push(`ann ${index}`), { user: 'ann' });
  };
  await Promise.all([ann(), ...[0, 1].map((index) => slices.run(() => done.push(`bob ${index}`), { user: 'bob' }))]);
  expect(done.indexOf('bob 0')).toBe(1);
  expect(done).toHaveLength(5);
});

test('[L27] a piece of an aborted call is not run, and rejects with the reason of the signal', async () => {
  const slices = new Slices();
  const abort = new AbortController();
  let runs = 0;
  const calls = Array.from({ length: 100 }, () => slices.run(() => runs++, { user: 'ann', signal: abort.signal }));
  const reason = new Error('the client has left');
  abort.abort(reason);
  const outcomes = await Promise.allSettled(calls);
  expect(runs).toBe(0);
  expect(outcomes.every((outcome) => outcome.status === 'rejected' && outcome.reason === reason)).toBe(true);
});
