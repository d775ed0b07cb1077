import { expect, test } from 'vitest';
import { versionWarning } from './trpc-version.ts';

test('[D20] a version of tRPC that has not been tested gets a warning with its number', () => {
  expect(versionWarning('11.19.0')).toBe(undefined);
  expect(versionWarning('11.26.0')).toBe('tRPC 11.26.0 has not been tested');
  expect(versionWarning('11.25.2-canary.1')).toBe('tRPC 11.25.2-canary.1 has not been tested');
});

test('[D20] the installed version of tRPC has been tested', () => {
  expect(versionWarning()).toBe(undefined);
});
