import { expect, onTestFinished, test, vi } from 'vitest';
import { RunwireError } from '../../shared/errors.ts';
import { backoffMs } from './backoff.ts';
import { type ReconnectOptions, ReconnectPolicy } from './reconnect-policy.ts';

test('[C1] delays double up to the maximum, with jitter of up to half', () => {
  const delays = (random: number) =>
    [1, 2, 3, 4, 5, 6].map((attempt) => backoffMs(attempt, 1_000, 10_000, () => random));
  expect(delays(0)).toEqual([500, 1_000, 2_000, 4_000, 5_000, 5_000]);
  expect(delays(0.999_999)).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
});

const refused = () => new RunwireError('UNAVAILABLE', 'refused');

/** A policy with one subscription, which `end` ends. */
function subscribed(options: ReconnectOptions = {}) {
  const policy = new ReconnectPolicy({ random: () => 0.999_999, ...options });
  return { policy, end: policy.addSubscription() };
}

function stopClock(): void {
  vi.useFakeTimers({ now: 0 });
  onTestFinished(() => void vi.useRealTimers());
}

test('[C1] the first attempt has no delay, and each further attempt waits for its delay', async () => {
  stopClock();
  const { policy } = subscribed({ reconnectDelayMs: 1_000 });
  await policy.waitForTurn();
  expect(policy.status).toMatchObject({ state: 'connecting', retryAtMs: null });

  for (const delayMs of [1_000, 2_000, 4_000]) {
    policy.onLost(refused());
    const startedAtMs = Date.now();
    const turn = policy.waitForTurn();
    expect(policy.status).toMatchObject({ state: 'reconnecting', retryAtMs: startedAtMs + delayMs });
    await vi.advanceTimersByTimeAsync(delayMs);
    await turn;
    expect(Date.now()).toBe(startedAtMs + delayMs);
    expect(policy.status).toMatchObject({ state: 'reconnecting', retryAtMs: null });
  }
});

test('[C1] delays grow until a connection lasts for stableMs, or for as long as the delay before it', async () => {
  stopClock();
  const { policy } = subscribed({ reconnectDelayMs: 1_000, stableMs: 5_000 });
  /** Connects for `lastedMs`, and returns the delay that follows. */
  const delayAfter = async (lastedMs: number) => {
    policy.onConnected();
    await vi.advanceTimersByTimeAsync(lastedMs);
    policy.onLost(refused());
    const turn = policy.waitForTurn();
    const delayMs = (policy.status.retryAtMs as number) - Date.now();
    await vi.advanceTimersByTimeAsync(delayMs);
    await turn;
    return delayMs;
  };
  await policy.waitForTurn();
  const delays: number[] = [];
  for (const lastedMs of [0, 999, 1_999, 3_999, 4_999, 5_000, 1_000, 1_000, 500])
    delays.push(await delayAfter(lastedMs));
  expect(delays).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 1_000, 1_000, 1_000, 2_000]);
});

test('[C2] only failures in a row count: an answer of the server ends the row', async () => {
  const { policy } = subscribed({ maxReconnectAttempts: 2 });
  for (let round = 0; round < 10; round++) {
    policy.onLost(refused());
    policy.onLost(refused());
    expect(policy.status).toMatchObject({ state: 'reconnecting', attempts: 2 });
    policy.onConnected();
    expect(policy.status).toMatchObject({ state: 'connected', attempts: 0, error: null });
    policy.onLost(refused());
    expect(policy.status).toMatchObject({ state: 'reconnecting', attempts: 1 });
    policy.onConnected();
  }
  for (const state of ['reconnecting', 'reconnecting', 'failed']) {
    policy.onLost(refused());
    expect(policy.status.state).toBe(state);
  }
});

test('[C2] in the state failed an attempt follows every maxReconnectDelayMs, and only a connection ends the state', async () => {
  stopClock();
  const { policy } = subscribed({ maxReconnectAttempts: 0 });
  await policy.waitForTurn();
  for (const attempts of [1, 2, 3]) {
    policy.onLost(refused());
    const turn = policy.waitForTurn();
    expect(policy.status).toMatchObject({ state: 'failed', attempts, retryAtMs: Date.now() + 30_000 });
    await vi.advanceTimersByTimeAsync(30_000);
    await turn;
    expect(policy.status).toMatchObject({ state: 'failed', retryAtMs: null, error: { message: 'refused' } });
  }
  policy.onConnected();
  expect(policy.status).toMatchObject({ state: 'connected', attempts: 0, error: null });
});

test('[C2] with afterFailed: stop no attempt follows until retry()', async () => {
  stopClock();
  const { policy } = subscribed({ maxReconnectAttempts: 2, afterFailed: 'stop' });
  for (const state of ['reconnecting', 'reconnecting', 'failed']) {
    policy.onLost(refused());
    expect(policy.status.state).toBe(state);
  }
  const turn = policy.waitForTurn();
  expect(vi.getTimerCount()).toBe(0);
  expect(policy.status).toMatchObject({ state: 'failed', retryAtMs: null });

  policy.retry();
  await turn;
  expect(policy.status).toMatchObject({ state: 'reconnecting', attempts: 0 });
});

test('[C2] retry() ends the current delay', async () => {
  const { policy } = subscribed({ reconnectDelayMs: 60_000 });
  policy.onLost(refused());
  const turn = policy.waitForTurn();
  policy.retry();
  await turn;
  expect(policy.status).toMatchObject({ attempts: 0, retryAtMs: null });
});

test('[C1] a delay of Infinity never elapses, and a longer delay than timers allow does not elapse at once', async () => {
  stopClock();
  for (const [delayMs, timers] of [
    [Number.POSITIVE_INFINITY, 0],
    [2 ** 40, 1],
  ] as const) {
    const { policy } = subscribed({ reconnectDelayMs: delayMs, maxReconnectDelayMs: Number.POSITIVE_INFINITY });
    policy.onLost(refused());
    const turned = vi.fn();
    void policy.waitForTurn().then(turned);
    expect(vi.getTimerCount()).toBe(timers);
    await vi.advanceTimersByTimeAsync(1_000_000_000);
    expect(turned).not.toHaveBeenCalled();
  }
});

test('[C11] the end of the last subscription ends the attempts, and the next subscription starts without a delay', async () => {
  stopClock();
  const { policy, end } = subscribed();
  policy.onLost(refused());
  const turned = vi.fn();
  void policy.waitForTurn().then(turned);
  end();
  await vi.advanceTimersByTimeAsync(0);
  expect(policy.status).toMatchObject({ state: 'idle', error: null, attempts: 0, retryAtMs: null });
  expect(vi.getTimerCount()).toBe(0);
  await vi.advanceTimersByTimeAsync(1_000_000);
  expect(turned).not.toHaveBeenCalled();

  policy.addSubscription();
  await vi.advanceTimersByTimeAsync(0);
  expect(turned).toHaveBeenCalled();
  expect(policy.status.state).toBe('connecting');
});

test('[C11] a subscription that replaces the last one in the same task changes neither the state nor the delay', async () => {
  stopClock();
  const { policy, end } = subscribed();
  policy.onLost(refused());
  const turn = policy.waitForTurn();
  const { status } = policy;
  await vi.advanceTimersByTimeAsync(300);
  end();
  policy.addSubscription();
  await vi.advanceTimersByTimeAsync(699);
  expect(policy.status).toBe(status);
  await vi.advanceTimersByTimeAsync(1);
  await turn;
  expect(Date.now()).toBe(1_000);
});

test('[C11] an attempt that fails when the last subscription has ended leaves the state idle, without an error', async () => {
  const { policy, end } = subscribed();
  await policy.waitForTurn();
  end();
  policy.onLost(refused());
  expect(policy.status).toMatchObject({ state: 'idle', error: null, attempts: 0, retryAtMs: null });
});

test('[C6] a refused token is retried once without delay; a second refusal or a revocation is final', async () => {
  stopClock();
  const expired = new RunwireError('UNAUTHENTICATED', 'expired');
  const { policy, end } = subscribed({ reconnectDelayMs: 60_000 });
  policy.onLost(expired, 4401);
  expect(policy.status.state).toBe('reconnecting');
  await policy.waitForTurn();
  policy.onLost(expired, 4401);
  expect(policy.status.state).toBe('failed');
  void policy.waitForTurn();
  expect(vi.getTimerCount()).toBe(0);
  end();
  policy.addSubscription();
  await vi.advanceTimersByTimeAsync(0);
  expect(policy.status).toMatchObject({ state: 'failed', error: expired });

  const { policy: revoked } = subscribed();
  revoked.onLost(new RunwireError('UNAUTHENTICATED', 'revoked'), 4403);
  void revoked.waitForTurn();
  expect(revoked.status).toMatchObject({ state: 'failed', retryAtMs: null });
  expect(vi.getTimerCount()).toBe(0);
});

test('close() releases a waiting attempt, and the state stays disconnected', async () => {
  const { policy } = subscribed({ maxReconnectAttempts: 0 });
  policy.onLost(refused());
  const turn = policy.waitForTurn();
  policy.close();
  await turn;
  policy.retry();
  expect(policy.status.state).toBe('disconnected');
});

test('[H34] the offset of the server moves only as far as the bounds of an answer require', () => {
  const policy = new ReconnectPolicy();
  const now = vi.spyOn(Date, 'now');
  onTestFinished(() => now.mockRestore());
  /** An answer to a request of this clock's `sent` to `received`, made at `server`. Returns the offset after it. */
  const answer = (sent: number, server: number, received: number) => {
    now.mockReturnValue(received);
    policy.onServerTime(sent, server);
    return policy.status.serverTimeOffsetMs;
  };
  const before = policy.status;
  expect(answer(1_000, 1_040, 1_090)).toBe(0);
  expect(policy.status).toBe(before);
  expect(answer(2_000, 500, 2_100)).toBe(-1_500);
  expect(answer(3_000, 1_430, 3_010)).toBe(-1_570);
  // An answer that took long, and a clock that was set back meanwhile, show nothing.
  expect(answer(4_000, 5_000, 9_000)).toBe(-1_570);
  expect(answer(9_000, 9_500, 5_000)).toBe(-1_570);
  expect(answer(6_000, 9_001, 6_002)).toBe(2_999);
});
