import { RunwireError } from '../../shared/errors.ts';
import type { RunwireEvents } from '../../shared/events.ts';
import type { Registry } from '../../shared/registry.ts';
import { type EventPublisher, type PublisherOptions, publisherWith } from './publisher.ts';

/** `runwire/publisher` without the code of the spill file, for browsers. `index.ts` has its types. */
export function createPublisher<R extends Registry = RunwireEvents>(options: PublisherOptions): EventPublisher<R> {
  return publisherWith<R>(() => {
    throw new RunwireError('INVALID_INPUT', 'a spill file needs Node.js', { path: 'spillPath' });
  }, options);
}
