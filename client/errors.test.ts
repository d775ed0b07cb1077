import { createTRPCClient, httpLink, TRPCClientError } from '@trpc/client';
import { expect, onTestFinished, test, vi } from 'vitest';
import { RunwireError } from '../shared/errors.ts';
import type { AppRouter } from '../shared/router.ts';
import { report, runwireErrorOf } from './errors.ts';

const answered = (data: object, message = 'the message of the server') =>
  TRPCClientError.from({ error: { code: -32_004, message, data } } as never);

test('[C10] an answer of the server becomes a RunwireError with the code, the field and the outcome of the answer', () => {
  const outcome = { status: 'granted', decidedBy: ['ann'] } as const;
  const error = answered({ runwireCode: 'APPROVAL_ALREADY_DECIDED', field: 'approvalId', outcome });
  expect(runwireErrorOf(error)).toMatchObject({
    name: 'RunwireError',
    code: 'APPROVAL_ALREADY_DECIDED',
    message: 'the message of the server',
    path: 'approvalId',
    outcome,
    cause: error,
  });
});

test('[C10] a code that this client does not have becomes INTERNAL', () => {
  expect(runwireErrorOf(answered({ runwireCode: 'FROM_A_NEWER_SERVER' })).code).toBe('INTERNAL');
});

test('[C10] a RunwireError stays the same object, also as the cause of an error of tRPC', () => {
  const error = new RunwireError('UNAUTHENTICATED', 'the token source failed');
  expect(runwireErrorOf(error)).toBe(error);
  expect(runwireErrorOf(TRPCClientError.from(error))).toBe(error);
});

test('[C10] a request without an answer becomes UNAVAILABLE, and the message quotes nothing of an answer that is no JSON', async () => {
  const failureOf = async (options: object) => {
    const client = createTRPCClient<AppRouter>({ links: [httpLink({ url: 'http://127.0.0.1:9/trpc', ...options })] });
    return runwireErrorOf(await client.auth.me.query().catch((error: unknown) => error));
  };
  expect((await failureOf({})).code).toBe('UNAVAILABLE');
  const html = await failureOf({ fetch: async () => new Response('<html>Ada Example</html>', { status: 502 }) });
  expect(html.code).toBe('UNAVAILABLE');
  expect(html.message).not.toContain('html');
});

test('[H11] an error goes to reportError in browsers alone: the one of Deno ends the process', () => {
  onTestFinished(() => void vi.unstubAllGlobals());
  const [reported, logged] = [vi.fn(), vi.spyOn(console, 'error').mockImplementation(() => undefined)];
  onTestFinished(() => logged.mockRestore());
  vi.stubGlobal('reportError', reported);
  for (const userAgent of ['Deno/2.5.6', 'Bun/1.3.0', undefined]) {
    vi.stubGlobal('navigator', userAgent && { userAgent });
    report(new Error('of a handler'));
  }
  expect([reported.mock.calls.length, logged.mock.calls.length]).toEqual([0, 3]);
  vi.stubGlobal('navigator', { userAgent: 'Mozilla/5.0 (X11; Linux x86_64)' });
  report(new Error('of a handler'));
  expect([reported.mock.calls.length, logged.mock.calls.length]).toEqual([1, 3]);
});
