import { RunwireError } from '../../shared/errors.ts';
import { REQUEST_LIMIT_DRAFTS } from '../../shared/protocol.ts';
import type { DraftOf, Registry } from '../../shared/registry.ts';
import { can, requirePermission } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import type { Limits } from '../limits.ts';
import type { PhiPolicy } from '../phi/policy.ts';
import { TokenBuckets } from '../rate-limit.ts';
import type { EventBus, Published } from './bus.ts';

/** What comes over the network on its way to the bus: who may publish where, and how much of it. */
export class PublishGateway<R extends Registry> {
  readonly bus: EventBus<R>;
  readonly #allowances: TokenBuckets;

  constructor(bus: EventBus<R>, { publishedPerSecond }: Limits) {
    this.bus = bus;
    this.#allowances = new TokenBuckets(publishedPerSecond);
  }

  /** Publishes what a principal sent. Throws `FORBIDDEN`, `RATE_LIMITED`, and what {@link EventBus.publish} does. */
  async publish(principal: Principal, events: readonly DraftOf<R>[], onPhi: PhiPolicy | undefined): Promise<Published> {
    requirePermission(principal, 'publish');
    if (events.length <= REQUEST_LIMIT_DRAFTS) {
      events.forEach((event, index) => {
        const projectId = (event as { projectId?: unknown } | null)?.projectId;
        if (typeof projectId !== 'string' || can(principal, 'publish', { projectId })) return;
        throw new RunwireError('FORBIDDEN', 'not allowed: publish to this project', {
          path: `events.${index}.projectId`,
        });
      });
    }
    if (!this.isAllowed(principal, events.length)) throw new RunwireError('RATE_LIMITED', 'too many events a second');
    return this.bus.publish(events, { actor: principal.sub, onPhi });
  }

  /** Whether a principal may publish so many events now; then they count. */
  isAllowed({ sub }: Principal, events: number): boolean {
    return this.#allowances.take(sub, events);
  }
}
