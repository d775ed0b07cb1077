import { expect, test } from 'vitest';
import type { RunEvent } from '../../../../shared/events.ts';
import { describe, toneOf, wordOf } from './describe.ts';

const event = (type: string, fields: object = {}) =>
  ({
    ...{ type, projectId: 'demo', runId: 'r1', timestamp: '2026-01-01T00:00:00.000Z', eventId: 'e1' },
    ...{ actor: 'ada', audience: ['lin'], recordedAt: '2026-01-01T00:00:00.000Z', seq: 7, runSeq: 3 },
    ...fields,
  }) as RunEvent;

test('[U6] an event of an unknown type is described by its own fields', () => {
  expect(describe(event('metric.sampled', { name: 'loss', value: 0.3, tags: ['a'] }))).toBe(
    'name=loss value=0.3 tags=["a"]',
  );
  expect(describe(event('metric.sampled', { a: 1, b: 2, c: 3, d: 4, e: 5 }))).toBe('a=1 b=2 c=3 d=4');
  expect(describe(event('metric.sampled'))).toBe('');
});

test('[U6] an event with an error, and a denial, are failures', () => {
  const failures = [
    event('run.failed', { error: { message: 'no memory' } }),
    event('stage.failed', { error: { message: 'no memory' }, willRetry: true }),
    event('metric.rejected', { error: { message: 'not a number' } }),
    event('approval.denied', { decidedBy: 'lin', reason: 'Too early.' }),
  ];
  expect(failures.map(toneOf)).toEqual(['bad', 'bad', 'bad', 'bad']);
  const others = [event('run.completed'), event('approval.granted', { decidedBy: 'lin' }), event('metric.sampled')];
  expect(others.map(toneOf)).toEqual(['good', 'good', 'plain']);
});

test('[U50] a type is short words, and an approval that nobody decided in time is expired', () => {
  const approval = { decidedBy: 'system', reason: 'Nobody decided.' };
  expect(wordOf(event('stage.failed', { error: { message: 'x' } }))).toBe('stage failed');
  expect(wordOf(event('approval.denied', approval))).toBe('denied');
  expect(wordOf(event('approval.denied', { ...approval, expired: true }))).toBe('expired');
  expect(wordOf(event('metric.sampled'))).toBe('metric sampled');
});
