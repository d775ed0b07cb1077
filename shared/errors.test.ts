import { TRPCError } from '@trpc/server';
import { getHTTPStatusCodeFromError } from '@trpc/server/http';
import { expect, test } from 'vitest';
import { errorTable } from './error-table.ts';
import { type ErrorCode, RunwireError } from './errors.ts';
import { closeCodes } from './protocol.ts';

const entries = Object.entries(errorTable) as [ErrorCode, (typeof errorTable)[ErrorCode]][];

test('[Q6] the error table has the codes of the contract', () => {
  const named = [
    ...['UNAUTHENTICATED', 'FORBIDDEN', 'RUN_NOT_FOUND', 'RUN_AMBIGUOUS', 'INVALID_EVENT', 'PHI_REJECTED'],
    ...['CURSOR_INVALID', 'TOO_LARGE', 'RATE_LIMITED', 'APPROVAL_NOT_FOUND', 'APPROVAL_ALREADY_DECIDED'],
    ...['APPROVAL_EXPIRED', 'NOT_ALLOWED_TO_DECIDE', 'UNAVAILABLE'],
  ];
  expect(Object.keys(errorTable)).toEqual(expect.arrayContaining(named));
});

test.each(entries)('[Q7] the HTTP status of %s is that of its tRPC code', (_, entry) => {
  expect(getHTTPStatusCodeFromError(new TRPCError({ code: entry.trpc }))).toBe(entry.http);
});

test.each(entries)('the entry of %s says in a sentence what to do, and only what may pass is retried', (_, entry) => {
  expect(entry.advice).toMatch(/^[A-Z].{15,}\.$/);
  expect(entry.retryable).toBe(entry.http === 429 || entry.http >= 500);
});

test('[Q6] an error body has code, message and optional path, and nothing of the cause', () => {
  const cause = new Error('SQLITE_ERROR near "Jane Doe"');
  const plain = new RunwireError('UNAVAILABLE', 'the event log failed', { cause });
  expect(JSON.parse(JSON.stringify(plain))).toEqual({
    error: { code: 'UNAVAILABLE', message: 'the event log failed' },
  });
  expect(plain).toMatchObject({ name: 'RunwireError', cause });
  expect(plain).toBeInstanceOf(Error);
  expect(new RunwireError('INTERNAL', 'm')).not.toHaveProperty('cause');
});

test('[Q6] the body for a refused batch has the index and path of each issue', () => {
  const issues = [{ index: 3, path: 'stages.0.name', message: 'expected string' }];
  const error = new RunwireError('INVALID_EVENT', 'stages.0.name: expected string', { path: 'stages.0.name', issues });
  expect(JSON.parse(JSON.stringify(error))).toEqual({
    error: { code: 'INVALID_EVENT', message: 'stages.0.name: expected string', path: 'stages.0.name' },
    errors: issues,
  });
});

test('close codes are distinct, and the codes of Runwire are in the range for applications', () => {
  expect(closeCodes).toEqual({
    goingAway: 1001,
    tryAgain: 1012,
    unauthenticated: 4401,
    revoked: 4403,
    tooSlow: 4408,
    overLimit: 4429,
  });
});
