import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { TokenCache, type TokenCacheOptions, type TokenSource } from './token-cache.ts';

/** An unsigned token with these claims. */
const tokenOf = (claims: object) => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
const [ann, bob] = [tokenOf({ sub: 'ann' }), tokenOf({ sub: 'bob' })];

function setUp(source: TokenSource, options: TokenCacheOptions = {}) {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
  onTestFinished(() => void vi.useRealTimers());
  const users: boolean[] = [];
  const tokens = new TokenCache(source, { onToken: (isOtherUser) => void users.push(isOtherUser), ...options });
  return { tokens, users };
}

/** A source that is answered by the test. `answers[n]` settles the call n. */
function controlled() {
  const answers: ((token: string | null | Error) => void)[] = [];
  const source = vi.fn(
    () =>
      new Promise<string | null>((resolve, reject) => {
        answers.push((token) => (token instanceof Error ? reject(token) : resolve(token)));
      }),
  );
  return { source, answers };
}

describe('a token source', () => {
  test('[C17] that does not answer is a failure after 15 s, and is then asked again', async () => {
    const { source, answers } = controlled();
    const { tokens } = setUp(source);
    const [first, second] = [tokens.get(), tokens.get()];
    const failures = Promise.allSettled([first, second]);
    await vi.advanceTimersByTimeAsync(14_999);
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    const reason = { code: 'UNAVAILABLE', message: 'the token source gave no answer within 15 s' };
    expect(await failures).toMatchObject([{ reason }, { reason }]);
    const third = tokens.get();
    answers[1]?.(ann);
    expect(await third).toBe(ann);
    expect(source).toHaveBeenCalledTimes(2);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('[C17] that hangs is asked again at once by retry(), and close() rejects the callers', async () => {
    const { source, answers } = controlled();
    const { tokens } = setUp(source);
    const waiting = tokens.get();
    tokens.retry();
    expect(source).toHaveBeenCalledTimes(2);
    answers[1]?.(ann);
    expect(await waiting).toBe(ann);
    tokens.retry(); // Without a fetch under way, the cached token stays.
    expect(await tokens.get()).toBe(ann);

    tokens.forget();
    const last = tokens.get();
    tokens.close();
    await expect(last).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(tokens.get()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(source).toHaveBeenCalledTimes(3);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([
    ['a token', () => tokenOf({ sub: 'bob', iat: 1_800_000_000, exp: 1_800_003_600 })],
    ['an error', () => new Error('the issuer is down')],
  ])('[C17] that answers %s after it was asked again changes nothing', async (_name, late) => {
    const { source, answers } = controlled();
    const { tokens, users } = setUp(source);
    const waiting = tokens.get();
    tokens.forget();
    answers[1]?.(tokenOf({ sub: 'ann', iat: 1_800_000_000, exp: 1_800_000_030 }));
    const token = await waiting;
    const { dueAtMs, identity } = tokens;
    answers[0]?.(late());
    await vi.advanceTimersByTimeAsync(0);
    expect([tokens.dueAtMs, tokens.identity]).toEqual([dueAtMs, identity]);
    expect(await tokens.get()).toBe(token);
    expect(source).toHaveBeenCalledTimes(2);
    expect(users).toEqual([false]);
  });

  test.each([null, undefined])(
    '[C17] that answers %s is asked again with growing delays, without a failure',
    async (none) => {
      let token: string | null | undefined = none;
      const source = vi.fn(() => token);
      const { tokens } = setUp(source);
      const settled = vi.fn();
      const waiting = tokens.get();
      void waiting.finally(settled);
      await vi.advanceTimersByTimeAsync(60_000);
      expect(settled).not.toHaveBeenCalled();
      const asked = source.mock.calls.length;
      expect(asked).toBeGreaterThan(10);
      expect(asked).toBeLessThan(40);
      token = ann;
      await vi.advanceTimersByTimeAsync(5_000);
      expect(await waiting).toBe(ann);
      expect(source).toHaveBeenCalledTimes(asked + 1);
    },
  );

  test('[C17] without a token yet is asked at once by retry()', async () => {
    const source = vi.fn((): string | null => null);
    const { tokens } = setUp(source);
    const waiting = tokens.get();
    await vi.advanceTimersByTimeAsync(10_000);
    source.mockReturnValue(ann);
    tokens.retry();
    expect(await waiting).toBe(ann);
  });
});

describe('the user of a token', () => {
  test('[C18] is its claim sub, and another one is another identity', async () => {
    let token = ann;
    const { tokens, users } = setUp(() => token);
    const unknown = tokens.identity;
    await tokens.get();
    expect(tokens.identity).toBe(unknown); // The first token belongs to the user that was unknown until then.
    token = tokenOf({ sub: 'ann', n: 2 });
    tokens.forget();
    await tokens.get();
    expect(tokens.identity).toBe(unknown);
    expect(unknown.signal.aborted).toBe(false);
    token = bob;
    tokens.forget();
    await tokens.get();
    expect(tokens.identity.subject).toBe('bob');
    expect(unknown.signal.aborted).toBe(true);
    expect(users).toEqual([false, false, true]);
  });

  test('[C18] of two connections is never the same text while it is unknown', () => {
    const subjects = Array.from({ length: 100 }, () => new TokenCache(() => ann).identity.subject);
    expect(new Set(subjects).size).toBe(100);
    expect(new TokenCache(ann).identity.subject).toBe('ann');
    expect(new TokenCache(undefined).identity.subject).toBe('');
    expect(new TokenCache(() => ann, { identity: 'a' }).identity.subject).toBe('a');
  });

  test('[C18] without a claim sub is what the server states, once for each token; identity replaces that', async () => {
    const owners = { 'opaque 1': 'ann', 'opaque 2': 'ann', 'opaque 3': 'bob' };
    let token = 'opaque 1';
    const fetchSubject = vi.fn(async (said: string) => owners[said as keyof typeof owners]);
    const { tokens, users } = setUp(() => token, { fetchSubject });
    const next = async (said: string) => {
      token = said;
      tokens.forget();
      await tokens.get();
    };
    for (const said of ['opaque 1', 'opaque 1', 'opaque 2', 'opaque 3', 'refused']) await next(said);
    expect(users).toEqual([false, false, true, false]);
    expect(tokens.identity.subject).toBe('bob');
    expect(fetchSubject.mock.calls.map(([said]) => said)).toEqual(['opaque 1', 'opaque 2', 'opaque 3', 'refused']);

    const fixed = new TokenCache(() => token, { identity: 'ann', fetchSubject });
    await fixed.get();
    expect(fetchSubject).toHaveBeenCalledTimes(4);
  });

  test('[C18] is asked for again after doubt: soon, before a mutation, and ever less often while it stays the same', async () => {
    const source = vi.fn(() => ann);
    const onDue = vi.fn(() => void tokens.get());
    const { tokens } = setUp(source, { onDue });
    await tokens.get();
    await vi.advanceTimersByTimeAsync(60_000);
    tokens.doubt();
    await vi.advanceTimersByTimeAsync(0);
    expect(source).toHaveBeenCalledTimes(2);

    tokens.doubt();
    tokens.settleDoubt();
    await tokens.get();
    expect(source).toHaveBeenCalledTimes(3);
    tokens.settleDoubt();
    await tokens.get();
    expect(source).toHaveBeenCalledTimes(3);

    // An application that passes a new function ten times a second, for an hour.
    for (let n = 0; n < 36_000; n++) {
      tokens.doubt();
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(source.mock.calls.length).toBeLessThan(30);
    tokens.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});
