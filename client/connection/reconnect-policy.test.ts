import { expect, test, vi } from 'vitest';
import { backoffMs } from './backoff.ts';
import { ReconnectPolicy } from './reconnect-policy.ts';

test('[C1] delays double, with jitter of half, up to the most', () => {
  const delays = (random: number) =>
    [1, 2, 3, 4, 5, 6].map((attempt) => backoffMs(attempt, 1_000, 10_000, () => random));
  expect(delays(0)).toEqual([500, 1_000, 2_000, 4_000, 5_000, 5_000]);
  expect(delays(0.999_999)).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
});

test('[C1] the first try is made at once, each further one after its delay', async () => {
  vi.useFakeTimers({ now: 0 });
  try {
    const pacer = new ReconnectPolicy({ reconnectDelayMs: 1_000, random: () => 0.999_999 });
    await pacer.waitForTurn();
    expect(pacer.status).toMatchObject({ state: 'connecting', retryAtMs: null });

    for (const delayMs of [1_000, 2_000, 4_000]) {
      pacer.onLost(new Error('refused'));
      const startedAtMs = Date.now();
      const turn = pacer.waitForTurn();
      expect(pacer.status).toMatchObject({ state: 'reconnecting', retryAtMs: startedAtMs + delayMs });
      await vi.advanceTimersByTimeAsync(delayMs);
      await turn;
      expect(Date.now()).toBe(startedAtMs + delayMs);
      expect(pacer.status).toMatchObject({ state: 'reconnecting', retryAtMs: null });
    }
  } finally {
    vi.useRealTimers();
  }
});

test('[C1] a connection that did not last forgets no failure; one that did forgets them', () => {
  vi.useFakeTimers({ now: 0 });
  try {
    const pacer = new ReconnectPolicy({ stableMs: 5_000 });
    for (const attempts of [1, 2, 3]) {
      pacer.connected();
      vi.advanceTimersByTime(4_999);
      pacer.onLost(new Error('closed'));
      expect(pacer.status).toMatchObject({ state: 'reconnecting', attempts });
    }
    pacer.connected();
    vi.advanceTimersByTime(5_000);
    pacer.onLost(new Error('closed'));
    expect(pacer.status).toMatchObject({ state: 'reconnecting', attempts: 1 });
  } finally {
    vi.useRealTimers();
  }
});

test('[C2] after the most attempts it fails, and no turn comes until it is told to start afresh', async () => {
  const pacer = new ReconnectPolicy({ maxReconnectAttempts: 2 });
  for (const state of ['reconnecting', 'reconnecting', 'failed']) {
    pacer.onLost(new Error('refused'));
    expect(pacer.status.state).toBe(state);
  }
  const turned = vi.fn();
  const turn = pacer.waitForTurn().then(turned);
  await Promise.resolve();
  expect(turned).not.toHaveBeenCalled();

  pacer.retry();
  await turn;
  expect(pacer.status).toMatchObject({ state: 'reconnecting', attempts: 0 });
});

test('[C2] a retry cuts short the delay under way', async () => {
  const pacer = new ReconnectPolicy({ reconnectDelayMs: 60_000 });
  pacer.onLost(new Error('refused'));
  const turn = pacer.waitForTurn();
  pacer.retry();
  await turn;
  expect(pacer.status).toMatchObject({ attempts: 0, retryAtMs: null });
});

test('[C6] a refused token is tried once more, at once; refused again it is final, and revoked it is so at once', async () => {
  const pacer = new ReconnectPolicy({ reconnectDelayMs: 60_000 });
  pacer.onLost(new Error('expired'), 4401);
  expect(pacer.status.state).toBe('reconnecting');
  await pacer.waitForTurn();
  pacer.onLost(new Error('expired'), 4401);
  expect(pacer.status.state).toBe('failed');

  const revoked = new ReconnectPolicy();
  revoked.onLost(new Error('revoked'), 4403);
  expect(revoked.status.state).toBe('failed');
});

test('closed, it lets a waiting try go and stays disconnected', async () => {
  const pacer = new ReconnectPolicy({ maxReconnectAttempts: 0 });
  pacer.onLost(new Error('refused'));
  const turn = pacer.waitForTurn();
  pacer.close();
  await turn;
  pacer.retry();
  expect(pacer.status.state).toBe('disconnected');
});
