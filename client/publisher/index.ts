import type { RunwireEvents } from '../../shared/events.ts';
import type { Registry } from '../../shared/registry.ts';
import { type EventPublisher, type PublisherOptions, publisherWith } from './publisher.ts';
import { SpillFile } from './spill.ts';

/** The package entry `runwire/publisher`. Bundlers for browsers use `browser.ts` in its place. */

/**
 * Creates a publisher. `createPublisher<typeof events>` accepts the event types of an application's registry. It sends
 * nothing before the first `publish`, except for the drafts of its spill file. Throws a `RunwireError` if the spill file
 * cannot be used: `UNAVAILABLE`, or `INVALID_INPUT` without Node.js.
 */
export function createPublisher<R extends Registry = RunwireEvents>(options: PublisherOptions): EventPublisher<R> {
  return publisherWith<R>((path, onError) => new SpillFile(path, onError), options);
}

export type { PublisherDraft } from './parts.ts';
export type { EventPublisher, PublisherOptions } from './publisher.ts';
export type { PublishResult } from './queue.ts';
