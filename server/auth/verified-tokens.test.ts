import { expect, onTestFinished, test, vi } from 'vitest';
import { secret, tokenFor } from '../../tests/support/harness.ts';
import type { Principal } from './principal.ts';
import { hs256 } from './tokens.ts';
import { VerifiedTokens, verifiedOnce } from './verified-tokens.ts';

const inAnHourMs = () => Date.now() + 3_600_000;
const principalOf = (sub: string, expiresAtMs = inAnHourMs()): Principal => ({
  ...{ sub, projects: ['demo'], roles: ['viewer'], expiresAtMs },
});

/** A check that accepts every token but `bad`, and counts its calls. */
function counted() {
  const parts = { calls: 0, keys: {} as object };
  const verify = verifiedOnce(
    async (token) => {
      parts.calls++;
      if (token === 'bad') throw new Error('refused');
      return principalOf(token);
    },
    () => parts.keys,
  );
  return Object.assign(parts, { verify });
}

/** Advances Date only. */
const step = (ms: number) => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });
  onTestFinished(() => void vi.useRealTimers());
};

test('[A40] a token that was verified is known at once until it expires, and its signature is not checked again', async () => {
  const parts = counted();
  const first = await parts.verify('ada');
  expect(parts.verify('ada')).toBe(first);
  expect(await parts.verify('eve')).toMatchObject({ sub: 'eve' });
  expect(parts.calls).toBe(2);
  step(3_600_001);
  expect(parts.verify('ada')).toBeInstanceOf(Promise);
  expect(parts.calls).toBe(3);
});

test('[A40] (a) a refused token is checked each time, and its refusal is no answer for another token', async () => {
  const parts = counted();
  for (let round = 1; round <= 3; round++) {
    await expect(parts.verify('bad')).rejects.toThrow('refused');
    expect(parts.calls).toBe(round);
  }
  const token = await tokenFor();
  const verify = hs256({ secret });
  await verify(token);
  expect(verify(token)).toMatchObject({ sub: 'ada' });
  for (const forged of [`${token}A`, token.slice(0, -1), `${token.slice(0, -4)}AAAA`, ` ${token}`, `${token}.`]) {
    expect(() => verify(forged)).toThrow('the token is missing, malformed, forged or expired');
  }
});

test('[A40] (b) other keys make every token be checked again, also one with a check that began with the former keys', async () => {
  const parts = counted();
  await parts.verify('ada');
  parts.keys = {};
  await parts.verify('ada');
  expect(parts.calls).toBe(2);
  const pending = parts.verify('eve');
  parts.keys = {};
  const other = parts.verify('ada');
  await Promise.all([pending, other]);
  await parts.verify('eve');
  expect(parts.calls).toBe(5);
});

test('[A40] (c) the known tokens are bounded by number and by length, and the oldest give way', () => {
  const tokens = new VerifiedTokens();
  const longest = 12_288;
  for (let n = 0; n < 2_000; n++) tokens.put(`long ${n}`, principalOf('ada'), longest);
  expect(tokens.count).toBe(Math.floor((16 * 1024 * 1024) / longest));
  expect([tokens.get('long 0'), tokens.get('long 1999')]).toMatchObject([undefined, { sub: 'ada' }]);
  for (let n = 0; n < 60_000; n++) tokens.put(`short ${n}`, principalOf('ada'), 100);
  expect(tokens.count).toBe(50_000);
  expect([tokens.get('long 1999'), tokens.get('short 9999'), tokens.get('short 10000')]).toMatchObject([
    undefined,
    undefined,
    { sub: 'ada' },
  ]);
});
