import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { TokenCache } from './token-cache.ts';
import { TokenRenewal } from './token-renewal.ts';

/** An unsigned token with these claims. */
const tokenOf = (claims: object) => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
const HOUR_S = 3_600;

/** A renewal with fake timers. `put` records each token sent over the socket and its time. */
function setUp(fetchToken: () => string | Promise<string>) {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
  onTestFinished(() => void vi.useRealTimers());
  const startedAt = Date.now();
  const source = vi.fn(fetchToken);
  const tokens = new TokenCache(source);
  const put: { seconds: number; token: string }[] = [];
  const refresh = vi.fn(async (token: string) => {
    put.push({ seconds: (Date.now() - startedAt) / 1000, token });
  });
  return { tokens, source, put, refresh, renewal: new TokenRenewal(tokens, refresh) };
}

const nowS = () => Date.now() / 1000;

describe('the token of an open socket', () => {
  test.each([
    [24 * HOUR_S, 24 * HOUR_S - 90],
    [HOUR_S, HOUR_S - 90],
    [60, 40],
    [6, 4],
  ])(
    '[C9] with a lifetime of %d s is replaced after %d s, and its successor after the same time',
    async (ttl, after) => {
      const { tokens, put, renewal } = setUp(() => tokenOf({ iat: nowS(), exp: nowS() + ttl }));
      await tokens.get();
      renewal.start();
      await vi.advanceTimersByTimeAsync(2 * after * 1000 + 100);
      expect(put.map(({ seconds }) => seconds)).toEqual([after, 2 * after]);
      renewal.stop();
      await vi.advanceTimersByTimeAsync(10 * ttl * 1000);
      expect(put).toHaveLength(2);
      expect(vi.getTimerCount()).toBe(0);
    },
  );

  test.each([
    ['ahead by a day', 24 * HOUR_S],
    ['behind by a day', -24 * HOUR_S],
  ])('[C9] is replaced in time when the clock is %s', async (_name, offS) => {
    const { tokens, put, source, renewal } = setUp(() => tokenOf({ iat: nowS() - offS, exp: nowS() - offS + HOUR_S }));
    await tokens.get();
    renewal.start();
    await vi.advanceTimersByTimeAsync((HOUR_S - 30) * 1000);
    expect(put.map(({ seconds }) => seconds)).toEqual([HOUR_S - 90]);
    for (let round = 0; round < 10; round++) await tokens.get();
    expect(source).toHaveBeenCalledTimes(2);
  });

  test('[C9] is replaced within a minute after the machine wakes from sleep', async () => {
    const { tokens, put, renewal } = setUp(() => tokenOf({ iat: nowS(), exp: nowS() + HOUR_S }));
    await tokens.get();
    renewal.start();
    vi.setSystemTime(Date.now() + 8 * HOUR_S * 1000); // Timers do not advance.
    await vi.advanceTimersByTimeAsync(60_000);
    expect(put).toHaveLength(1);
    vi.setSystemTime(Date.now() + 8 * HOUR_S * 1000);
    renewal.check(); // Called when the page becomes visible.
    await vi.advanceTimersByTimeAsync(0);
    expect(put).toHaveLength(2);
  });

  test('[C9] that cannot be fetched or is refused is retried every 5 s', async () => {
    let isUp = false;
    const { tokens, source, put, refresh, renewal } = setUp(() => {
      if (!isUp && source.mock.calls.length > 1) throw new Error('the issuer is down');
      return tokenOf({ iat: nowS(), exp: nowS() + 60 });
    });
    await tokens.get();
    renewal.start();
    await vi.advanceTimersByTimeAsync(51_000);
    expect(source).toHaveBeenCalledTimes(4); // At 40, 45 and 50 s.
    isUp = true;
    refresh.mockRejectedValueOnce(new Error('refused'));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(refresh).toHaveBeenCalledTimes(2);
    expect(put).toHaveLength(1);
  });

  test('[C9] is not fetched in a loop when the source keeps returning the same token', async () => {
    const fixed = tokenOf({ iat: 1_800_000_000, exp: 1_800_000_000 + 600 });
    const { tokens, source, renewal } = setUp(() => fixed);
    await tokens.get();
    renewal.start();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(source.mock.calls.length).toBeLessThan(20);
  });

  test('[C9] is not renewed when it states no expiry or is empty', async () => {
    for (const token of ['opaque', tokenOf({}), tokenOf({ exp: 'never' }), '']) {
      const { tokens, put, source, renewal } = setUp(() => token);
      await tokens.get();
      renewal.start();
      await vi.advanceTimersByTimeAsync(48 * HOUR_S * 1000);
      expect([put.length, source.mock.calls.length]).toEqual([0, 1]);
      renewal.stop();
    }
  });

  test('[C9] is not sent over a socket that closed during the fetch, but over the next socket', async () => {
    let settle: ((token: string) => void) | undefined;
    const { tokens, put, renewal } = setUp(() => tokenOf({ iat: nowS(), exp: nowS() + 6 }));
    await tokens.get();
    const slow = vi.spyOn(tokens, 'get').mockImplementation(
      () =>
        new Promise((resolve) => {
          settle = resolve;
        }),
    );
    renewal.start();
    await vi.advanceTimersByTimeAsync(4_500);
    expect(slow).toHaveBeenCalledTimes(1);
    renewal.stop();
    renewal.start();
    slow.mockRestore();
    settle?.('late');
    await vi.advanceTimersByTimeAsync(2_000);
    expect(put.map(({ token }) => token)).not.toContain('late');
    expect(put).toHaveLength(1);
    renewal.stop();
  });

  test('[C9] that replaces another one during a renewal is sent after it, and is renewed in time', async () => {
    let name = 'first';
    const { tokens, put, refresh, renewal } = setUp(() => tokenOf({ iat: nowS(), exp: nowS() + 60, name }));
    const last = () => JSON.parse(atob(put.at(-1)?.token.split('.')[1] ?? '')).name;
    await tokens.get();
    renewal.start();
    let answer = () => {};
    refresh.mockImplementationOnce(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    );
    await vi.advanceTimersByTimeAsync(41_000);
    expect(refresh).toHaveBeenCalledOnce();
    name = 'second';
    tokens.forget(); // As `refreshToken()` does.
    renewal.renew();
    answer();
    await vi.advanceTimersByTimeAsync(0);
    expect(last()).toBe('second');
    name = 'third';
    await vi.advanceTimersByTimeAsync(41_000);
    expect(last()).toBe('third');
    renewal.stop();
  });
});
