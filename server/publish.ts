import { RunwireError } from '../shared/errors.ts';
import type { DraftOf, Registry } from '../shared/registry.ts';
import { can, demand, type Principal } from './auth.ts';
import { type EventBus, REQUEST_LIMIT_DRAFTS } from './bus.ts';

/** Publishes what a principal sent over the network: only to projects it may publish to. */
export async function publishAs<R extends Registry>(
  bus: EventBus<R>,
  principal: Principal,
  events: readonly DraftOf<R>[],
  onPhi: 'reject' | 'redact' | undefined,
) {
  demand(principal, 'publish');
  if (events.length <= REQUEST_LIMIT_DRAFTS) {
    events.forEach((event, index) => {
      const projectId = (event as { projectId?: unknown } | null)?.projectId;
      if (typeof projectId !== 'string' || can(principal, 'publish', { projectId })) return;
      throw new RunwireError('FORBIDDEN', 'not allowed: publish to this project', {
        path: `events.${index}.projectId`,
      });
    });
  }
  return bus.publish(events, { actor: principal.sub, onPhi });
}
