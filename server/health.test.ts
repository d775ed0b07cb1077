import { Writable } from 'node:stream';
import pino from 'pino';
import { expect, test } from 'vitest';
import { Health } from './health.ts';

function newHealth() {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  const clock = { ms: 0 };
  return { lines, clock, health: new Health(pino({}, stream), () => clock.ms) };
}

test('[Q8] a problem has one log line at its first report, at most one a minute, and one at its end', () => {
  const { lines, clock, health } = newHealth();
  const problem = { message: 'the disk is full', path: '/data/runwire.db', err: new Error('SQLITE_FULL') };
  for (let n = 0; n < 100; n++) health.report('commit', problem);
  clock.ms = 59_999;
  health.report('commit', problem);
  expect(lines).toMatchObject([
    { level: 50, condition: 'commit', reports: 1, path: '/data/runwire.db', msg: 'the disk is full' },
  ]);
  expect(lines[0]).toHaveProperty('err.message', 'SQLITE_FULL');
  clock.ms = 60_000;
  health.report('commit', problem);
  health.report('commit', undefined);
  health.report('commit', undefined);
  expect(lines.slice(1)).toMatchObject([
    { level: 50, reports: 101, msg: 'the disk is full' },
    { level: 40, condition: 'commit', path: '/data/runwire.db', msg: 'the problem is over: the disk is full' },
  ]);
});

test('[Q8] a problem that comes and goes has one line a minute', () => {
  const { lines, clock, health } = newHealth();
  for (let n = 0; n < 100; n++) {
    health.report('commit', { message: 'locked' });
    health.report('commit', undefined);
  }
  expect(lines.map(({ msg }) => msg)).toEqual(['locked', 'the problem is over: locked']);
  clock.ms = 60_000;
  health.report('commit', { message: 'locked' });
  expect(lines.at(-1)).toMatchObject({ msg: 'locked', reports: 100 });
});

test('[Q8] the problems and the states are by condition', () => {
  const { health } = newHealth();
  health.report('clock', undefined);
  health.report('commit', { message: 'the disk is full' });
  expect([...health.problems]).toEqual([['commit', 'the disk is full']]);
  health.report('commit', undefined);
  health.report('clock', { message: 'ahead' });
  expect([...health.problems]).toEqual([['clock', 'ahead']]);
  expect([...health.states()]).toEqual([
    ['clock', true],
    ['commit', false],
  ]);
});

test('[Q8] a failure has one log line a minute for each place in the code, whatever its message', () => {
  const { lines, clock, health } = newHealth();
  const failAt = (n: number) => new RangeError(`value ${n}\n    at value:${n}`);
  for (let n = 0; n < 100; n++)
    health.note('a request failed', { err: new Error('an internal error', { cause: failAt(n) }) });
  expect(lines).toHaveLength(1);
  health.note('a request failed', { err: new TypeError('another place') });
  expect(lines.map(({ err }) => (err as { type: string }).type)).toEqual(['Error', 'TypeError']);
  clock.ms = 60_000;
  health.note('a request failed', { err: failAt(100) });
  expect(lines.at(-1)).toMatchObject({ reports: 100, msg: 'a request failed' });
});
