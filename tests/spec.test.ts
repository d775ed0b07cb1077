import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const root = new URL('..', import.meta.url).pathname;
const rules = [...readFileSync(`${root}SPEC.md`, 'utf8').matchAll(/^- \*\*([A-Z]\d+)\*\* /gm)].map((match) => match[1]);
const files = execFileSync(
  'git',
  [
    'ls-files',
    '-co',
    '--exclude-standard',
    '*.test.ts',
    '*.test.tsx',
    '*.test-d.ts',
    '*.test-d.tsx',
    'server/event-log/conformance/*.ts',
  ],
  { cwd: root, encoding: 'utf8' },
);
const sources = files
  .trim()
  .split('\n')
  .map((file) => readFileSync(`${root}${file}`, 'utf8'));
const titled = new Set(sources.flatMap((source) => [...source.matchAll(/\[([A-Z]\d+)\]/g)].map((match) => match[1])));

test('every rule of SPEC.md is in the title of a test', () => {
  expect(rules.length).toBeGreaterThan(50);
  expect(rules.filter((rule) => !titled.has(rule))).toEqual([]);
});

test('every rule in a test title is in SPEC.md, once', () => {
  expect([...titled].filter((rule) => !rules.includes(rule))).toEqual([]);
  expect(new Set(rules).size).toBe(rules.length);
});

test('every rule that SECURITY.md names is in SPEC.md', () => {
  const text = readFileSync(`${root}SECURITY.md`, 'utf8');
  const named = [...text.matchAll(/\[((?:[A-Z]\d+(?:–[A-Z]\d+)?(?:, )?)+)\]/g)].flatMap(([, list = '']) =>
    [...list.matchAll(/[A-Z]\d+/g)].map(([rule]) => rule),
  );
  expect(named.length).toBeGreaterThan(30);
  expect(named.filter((rule) => !rules.includes(rule))).toEqual([]);
});
