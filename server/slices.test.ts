import { expect, test } from 'vitest';
import { SLICE_MS, Slices, Turns } from './slices.ts';

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

/** Uses up the time of a turn. */
const work = () => {
  const until = performance.now() + 2 * SLICE_MS;
  while (performance.now() < until);
};

/** Counts the turns of the event loop until all calls have ended. */
async function turnsOf(calls: Promise<unknown>[]): Promise<number> {
  let turns = 0;
  let hasEnded = false;
  const count = () => {
    turns++;
    if (!hasEnded) setImmediate(count);
  };
  setImmediate(count);
  await Promise.all(calls);
  hasEnded = true;
  return turns;
}

test('[L27] the time that a caller takes with the result of a piece counts for the turn', async () => {
  const slices = new Slices();
  const call = async () => {
    await slices.run(() => undefined, { user: 'ann' });
    await Promise.resolve(); // A caller has further promises between the result and its answer.
    work();
  };
  expect(await turnsOf(Array.from({ length: 10 }, call))).toBeGreaterThan(8);
});

test('[Q20] consumers that begin together go on in several turns, and users take turns', async () => {
  const turns = new Turns();
  const done: string[] = [];
  const begin = async (user: string) => {
    await new Promise((resolve) => setImmediate(resolve)); // Each request has a callback of its own, in the same turn.
    await turns.next({ user });
    done.push(user);
    work();
  };
  const calls = [...Array.from({ length: 10 }, () => begin('ann')), begin('bob')];
  expect(await turnsOf(calls)).toBeGreaterThan(8);
  expect(done.indexOf('bob')).toBeLessThan(4);
});

test('[L76] the slices of a turn share its time, and each goes on in every turn', async () => {
  const kinds = Array.from({ length: 6 }, () => new Slices());
  const pieces = kinds.map(() => 0);
  let before: number[] = [];
  const calls = kinds.flatMap((slices, kind) =>
    Array.from({ length: 20 }, () =>
      slices.run(() => {
        const until = performance.now() + 1;
        while (performance.now() < until);
        pieces[kind] = (pieces[kind] ?? 0) + 1;
      }),
    ),
  );
  let waited = 0;
  const look = () => {
    waited += kinds.filter((_, kind) => pieces[kind] === before[kind] && (pieces[kind] ?? 0) < 20).length;
    before = [...pieces];
    if (pieces.some((count) => count < 20)) setImmediate(look);
  };
  setImmediate(look);
  // 120 ms of work: with 5 ms for each kind, it would take four turns.
  expect(await turnsOf(calls)).toBeGreaterThan(7);
  expect(waited).toBe(0);
});
