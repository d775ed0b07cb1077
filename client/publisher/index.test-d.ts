import { test } from 'vitest';
import type { ownEvents } from '../../tests/support/own-events.ts';
import { createPublisher } from './index.ts';

/** Only compiled, never run. */

test('[E6] createPublisher<typeof events> accepts the drafts of a registry, and no others', () => {
  const options = { url: 'https://example.org', token: 'token', projectId: 'demo' };
  const own = createPublisher<typeof ownEvents>(options);
  own.publish({ type: 'metric.sampled', runId: 'r1', metricId: 'loss', value: 0.1 });
  own.publish([{ type: 'run.started', projectId: 'demo', runId: 'r1' }]);
  // @ts-expect-error value is a number
  own.publish({ type: 'metric.sampled', runId: 'r1', metricId: 'loss', value: '0.1' });
  // @ts-expect-error no such type
  own.publish({ type: 'metric.lost', runId: 'r1' });
  // @ts-expect-error an unknown key
  own.publish({ type: 'metric.sampled', runId: 'r1', metricId: 'loss', value: 1, colour: 'red' });

  const publisher = createPublisher(options);
  publisher.publish({ type: 'run.created', runId: 'r1', name: 'One' });
  // @ts-expect-error the twelve do not have this type
  publisher.publish({ type: 'metric.sampled', runId: 'r1', metricId: 'loss', value: 0.1 });
});
