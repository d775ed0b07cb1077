import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { excessOf, limits } from './limits.ts';
import { csvOf, heightsOf, plotsOf, rowsOf } from './series.ts';
import type { Sample } from './usePolls.ts';

/** The numbers of the page Operations: rows of the plots, and limits of the tiles. */

const T0 = Date.UTC(2026, 0, 1);
const sampleAt = (second: number, more: Partial<Sample> = {}): Sample => ({
  at: T0 + second * 1_000,
  connections: 1,
  subscriptions: 1,
  published: second,
  delivered: 2 * second,
  publishP50Ms: null,
  publishP99Ms: null,
  commitP99Ms: null,
  gaps: 0,
  replays: 0,
  refused: {},
  loopDelayMs: 0,
  memoryBytes: 1,
  unsentBytes: 0,
  mostLag: 0,
  databaseBytes: 0,
  walBytes: 0,
  ...more,
});
const seconds = (count: number, more: (second: number) => Partial<Sample> = () => ({})) =>
  Array.from({ length: count }, (_, second) => sampleAt(second, more(second)));

test('[U81] missing seconds are a gap in each line, and no row of the CSV', () => {
  const samples = [0, 1, 2, 9, 10].map((second) => sampleAt(second));
  const rows = rowsOf(samples, 600_000);
  expect(rows.times.map((ms) => (ms - T0) / 1_000)).toEqual([0, 1, 2, 3, 9, 10]);
  const [events] = plotsOf(samples, '10m');
  if (!events) throw new Error('no plot');
  expect(heightsOf(rows, events)).toEqual([
    [0, 1, 2, null, 9, 10],
    [0, 2, 4, null, 18, 20],
  ]);
  expect(csvOf(rows, events.lines).split('\n')).toEqual([
    'time,published,delivered',
    ...[0, 1, 2, 9, 10].map((second) => `${new Date(T0 + second * 1_000).toISOString()},${second},${2 * second}`),
    '',
  ]);
});

test('[U81] a plot has the samples of its window', () => {
  expect(rowsOf(seconds(3_600), 600_000).times).toHaveLength(600);
  expect(rowsOf(seconds(3_600), 3_600_000).times).toHaveLength(3_600);
  expect(rowsOf([], 600_000).times).toEqual([]);
});

test('[U81] refusals are stacked by code, and the rarest of more than five codes are one line', () => {
  const samples = [
    sampleAt(0, { refused: { A: 6, B: 5, C: 4, D: 3, E: 2, F: 1 } }),
    sampleAt(1, { refused: { B: 1 } }),
  ];
  const refused = plotsOf(samples, '10m').find(({ id }) => id === 'refused');
  if (!refused) throw new Error('no plot');
  expect(refused.lines.map(({ name }) => name)).toEqual(['A', 'B', 'C', 'D', 'others']);
  expect(heightsOf(rowsOf(samples, 600_000), refused)).toEqual([
    [21, 1],
    [15, 1],
    [10, 0],
    [6, 0],
    [3, 0],
  ]);
});

test('[U82] a limit is exceeded when the values were above it for its whole time', () => {
  const slow = (from: number, ms = 80) => seconds(300, (second) => ({ publishP99Ms: second >= from ? ms : 5 }));
  expect(excessOf(slow(100))).toEqual({ publishP99Ms: 'p99 over 50 ms for 2 min' });
  expect(excessOf(slow(250))).toEqual({});
  expect(excessOf(slow(0, 40))).toEqual({});
  // One slow second in ten is no problem, and seconds without a publish say nothing.
  expect(excessOf(seconds(300, (second) => ({ publishP99Ms: second % 10 === 0 ? 300 : 5 })))).toEqual({});
  expect(excessOf(seconds(300, (second) => ({ publishP99Ms: second % 10 === 0 ? 300 : null })))).not.toEqual({});
  expect(excessOf(seconds(60, () => ({ publishP99Ms: 80 })))).toEqual({});
  expect(excessOf(seconds(400, () => ({ walBytes: 300 * 1024 * 1024, commitP99Ms: 600 })))).toEqual({
    commitP99Ms: 'p99 over 500 ms for 5 min',
    walMiB: 'WAL over 256 MiB for 5 min',
  });
  expect(excessOf(seconds(20, () => ({ refused: { INTERNAL: 1, RUN_NOT_FOUND: 9 } })))).toEqual({
    failures: '20 failed in 5 min',
  });
});

test('[U82] the limits are those of the alert rules in the guide', () => {
  const guide = readFileSync(new URL('../../../../docs/guide/operations.md', import.meta.url), 'utf8');
  const rule = (alert: string) => guide.split(`- alert: ${alert}\n`)[1]?.split('- alert:')[0] ?? '';
  const { publishP99Ms, commitP99Ms, walMiB, failures } = limits;
  expect(rule('RunwireIsSlow')).toContain(`> ${publishP99Ms.above / 1_000}\n`);
  expect(rule('RunwireIsSlow')).toContain(`for: ${publishP99Ms.minutes}m`);
  expect(rule('RunwireCommitsAreSlow')).toContain(`> ${commitP99Ms.above / 1_000}\n`);
  expect(rule('RunwireCommitsAreSlow')).toContain(`for: ${commitP99Ms.minutes}m`);
  expect(rule('RunwireWalGrows')).toContain(`> ${walMiB.above} * 1024 * 1024\n`);
  expect(rule('RunwireWalGrows')).toContain(`for: ${walMiB.minutes}m`);
  expect(rule('RunwireRefuses')).toContain(`"UNAVAILABLE|INTERNAL"}[${failures.minutes}m]) > ${failures.above}\n`);
});
