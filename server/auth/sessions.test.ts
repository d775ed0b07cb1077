import { expect, onTestFinished, test, vi } from 'vitest';
import { openServer } from '../../tests/support/harness.ts';
import { Sealer } from './sealer.ts';
import { Sessions } from './sessions.ts';

test('[A22] a sign-in deletes all sessions that are over with one write', async () => {
  await using server = await openServer();
  const { sessions: store } = server.log;
  const removed: (readonly string[])[] = [];
  const counted = {
    all: () => store.all(),
    get: (id: string) => store.get(id),
    onChange: store.onChange,
    put: (session: Parameters<typeof store.put>[0]) => store.put(session),
    remove: (ids: readonly string[]) => {
      removed.push(ids);
      return store.remove(ids);
    },
  };
  const sessions = await Sessions.open(counted, new Sealer('a secret of the client', 'sessions'));
  const grantOf = (sub: string) => ({ user: { sub, projects: ['demo'], roles: [] }, lifeMs: 1_000 });
  const credentials = { revoke: () => Promise.reject(new Error('nothing to revoke')) } as never;
  for (let n = 0; n < 20; n++) await sessions.begin(grantOf(`user-${n}`), credentials);
  removed.length = 0;
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 25 * 3_600_000 });
  onTestFinished(() => void vi.useRealTimers());
  await sessions.begin(grantOf('late'), credentials);
  expect(removed.map((ids) => ids.length)).toEqual([20]);
  expect(sessions.count).toBe(1);
  expect(await store.all()).toHaveLength(1);
});
