import { expect, test } from 'vitest';
import type { RunEvent } from '../../../../shared/events.ts';
import { describe, isFailure } from './describe.ts';

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
  expect(describe(event('metric.sampled'))).toBe('');
});

test('[U6] an event with an error, and a denial, are failures', () => {
  const failures = [
    event('run.failed', { error: { message: 'no memory' } }),
    event('stage.failed', { error: { message: 'no memory' }, willRetry: true }),
    event('metric.rejected', { error: { message: 'not a number' } }),
    event('approval.denied', { decidedBy: 'lin', reason: 'Too early.' }),
  ];
  expect(failures.map(isFailure)).toEqual([true, true, true, true]);
  const others = [event('run.completed'), event('approval.granted', { decidedBy: 'lin' }), event('metric.sampled')];
  expect(others.map(isFailure)).toEqual([false, false, false]);
});
