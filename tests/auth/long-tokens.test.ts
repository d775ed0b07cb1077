import { expect, test } from 'vitest';
import { MAX_TOKEN_CHARS } from '../../server/auth/tokens.ts';
import { startServer, tokenFor, Wire } from '../support/harness.ts';

/** A token with about this many characters. */
const tokenOf = (length: number) => tokenFor({ projects: ['*', 'p'.repeat(Math.floor((length - 300) * 0.75))] });

test('[A14] every way accepts a token of up to 12,288 characters, and refuses a longer one by its length', async () => {
  await using server = await startServer();
  const cookieName = `runwire_${server.log.id}`;
  const long = await tokenOf(MAX_TOKEN_CHARS - 50);
  const tooLong = await tokenOf(MAX_TOKEN_CHARS + 400);
  expect(long.length).toBeLessThanOrEqual(MAX_TOKEN_CHARS);
  expect(long.length).toBeGreaterThan(MAX_TOKEN_CHARS - 200);
  expect(tooLong.length).toBeGreaterThan(MAX_TOKEN_CHARS);

  const me = (headers: Record<string, string>) => fetch(`${server.url}/trpc/auth.me`, { headers });
  const page = (token: string) => ({ cookie: `${cookieName}=${token}`, origin: server.url });
  for (const [token, status] of [
    [long, 200],
    [tooLong, 401],
  ] as const) {
    expect((await me({ authorization: `Bearer ${token}` })).status).toBe(status);
    expect((await me(page(token))).status).toBe(status);
  }

  await using wire = await Wire.open(server.url, { token: long });
  expect((await wire.call('query', 'auth.me')).result).toBeDefined();
  expect((await wire.call('mutation', 'auth.refresh', { token: long })).result).toBeDefined();
  const { error } = await wire.call('mutation', 'auth.refresh', { token: tooLong });
  expect(error?.data.runwireCode).toBe('UNAUTHENTICATED');
  await using refused = await Wire.open(server.url, { token: tooLong });
  expect(await refused.closed).toEqual({
    code: 4401,
    reason: `the token has more than ${MAX_TOKEN_CHARS} characters`,
  });
});
