import { expect, test } from 'vitest';
import { returnPathOf } from './return-path.ts';

test('[A24] a path of the site is kept with its query and its fragment', () => {
  for (const path of ['/', '/runs/demo/r%251?stage=a&q=x%20y#e', '/approvals?box=mine', '/search?q=//x']) {
    expect(returnPathOf(path)).toBe(path);
  }
});

test.each([
  undefined,
  null,
  '',
  'runs',
  'https://evil.example',
  '//evil.example',
  '///evil.example',
  '/\\evil.example',
  '\\/evil.example',
  '/\t/evil.example',
  '/\n/evil.example',
  '/.//evil.example',
  '/..//evil.example',
  '/runs/..//evil.example',
  '/%2e//evil.example',
  'javascript:alert(1)',
  ' /runs',
  '/auth/sign-in?return=/',
  '/auth',
  '/x/../auth/callback',
  '/login?token=x',
  '/trpc/auth.me',
  '/api/v1/export',
  `/${'x'.repeat(2_000)}`,
])('[A24] %j leads to the first page', (value) => {
  expect(returnPathOf(value)).toBe('/');
});

test('[A24] no line break and no control character is left in a path', () => {
  for (let code = 0; code < 0x21; code++) {
    const path = returnPathOf(`/runs${String.fromCharCode(code)}\r\nset-cookie: a=b`);
    expect(path).toMatch(/^[\x21-\x7e]+$/);
  }
});
