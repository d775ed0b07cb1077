import { expect, test, vi } from 'vitest';
import { RunwireError } from '../../shared/errors.ts';
import { backoffMs } from './backoff.ts';
import { ReconnectPolicy } from './reconnect-policy.ts';

test('[C1] delays double up to the maximum, with jitter of up to half', () => {
  const delays = (random: number) =>
    [1, 2, 3, 4, 5, 6].map((attempt) => backoffMs(attempt, 1_000, 10_000, () => random));
  expect(delays(0)).toEqual([500, 1_000, 2_000, 4_000, 5_000, 5_000]);
  expect(delays(0.999_999)).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
});

test('[C1] the first attempt has no delay, and each further attempt waits for its delay', async () => {
  vi.useFakeTimers({ now: 0 });
  try {
    const policy = new ReconnectPolicy({ reconnectDelayMs: 1_000, random: () => 0.999_999 });
    await policy.waitForTurn();
    expect(policy.status).toMatchObject({ state: 'connecting', retryAtMs: null });

    for (const delayMs of [1_000, 2_000, 4_000]) {
      policy.onLost(new RunwireError('UNAVAILABLE', 'refused'));
      const startedAtMs = Date.now();
      const turn = policy.waitForTurn();
      expect(policy.status).toMatchObject({ state: 'reconnecting', retryAtMs: startedAtMs + delayMs });
      await vi.advanceTimersByTimeAsync(delayMs);
      await turn;
      expect(Date.now()).toBe(startedAtMs + delayMs);
      expect(policy.status).toMatchObject({ state: 'reconnecting', retryAtMs: null });
    }
  } finally {
    vi.useRealTimers();
  }
});

test('[C1] only a connection of at least stableMs resets the count of failures', () => {
  vi.useFakeTimers({ now: 0 });
  try {
    const policy = new ReconnectPolicy({ stableMs: 5_000 });
    for (const attempts of [1, 2, 3]) {
      policy.onConnected();
      vi.advanceTimersByTime(4_999);
      policy.onLost(new RunwireError('UNAVAILABLE', 'closed'));
      expect(policy.status).toMatchObject({ state: 'reconnecting', attempts });
    }
    policy.onConnected();
    vi.advanceTimersByTime(5_000);
    policy.onLost(new RunwireError('UNAVAILABLE', 'closed'));
    expect(policy.status).toMatchObject({ state: 'reconnecting', attempts: 1 });
  } finally {
    vi.useRealTimers();
  }
});

test('[C2] after the maximum of attempts the state is failed, and no attempt starts until retry()', async () => {
  const policy = new ReconnectPolicy({ maxReconnectAttempts: 2 });
  for (const state of ['reconnecting', 'reconnecting', 'failed']) {
    policy.onLost(new RunwireError('UNAVAILABLE', 'refused'));
    expect(policy.status.state).toBe(state);
  }
  const turned = vi.fn();
  const turn = policy.waitForTurn().then(turned);
  await Promise.resolve();
  expect(turned).not.toHaveBeenCalled();

  policy.retry();
  await turn;
  expect(policy.status).toMatchObject({ state: 'reconnecting', attempts: 0 });
});

test('[C2] retry() ends the current delay', async () => {
  const policy = new ReconnectPolicy({ reconnectDelayMs: 60_000 });
  policy.onLost(new RunwireError('UNAVAILABLE', 'refused'));
  const turn = policy.waitForTurn();
  policy.retry();
  await turn;
  expect(policy.status).toMatchObject({ attempts: 0, retryAtMs: null });
});

test('[C6] a refused token is retried once without delay; a second refusal or a revocation is final', async () => {
  const policy = new ReconnectPolicy({ reconnectDelayMs: 60_000 });
  policy.onLost(new RunwireError('UNAVAILABLE', 'expired'), 4401);
  expect(policy.status.state).toBe('reconnecting');
  await policy.waitForTurn();
  policy.onLost(new RunwireError('UNAVAILABLE', 'expired'), 4401);
  expect(policy.status.state).toBe('failed');

  const revoked = new ReconnectPolicy();
  revoked.onLost(new RunwireError('UNAVAILABLE', 'revoked'), 4403);
  expect(revoked.status.state).toBe('failed');
});

test('close() releases a waiting attempt, and the state stays disconnected', async () => {
  const policy = new ReconnectPolicy({ maxReconnectAttempts: 0 });
  policy.onLost(new RunwireError('UNAVAILABLE', 'refused'));
  const turn = policy.waitForTurn();
  policy.close();
  await turn;
  policy.retry();
  expect(policy.status.state).toBe('disconnected');
});
