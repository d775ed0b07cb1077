import { RunwireError } from '../../shared/errors.ts';
import type { DraftOf, Registry } from '../../shared/registry.ts';
import { can, requirePermission } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import type { Limits } from '../limits.ts';
import type { PhiPolicy } from '../phi/policy.ts';
import { TokenBuckets } from '../rate-limit.ts';
import { type EventBus, type Published, requireDraftCount } from './bus.ts';

/** An id that holds enough chance that nobody guesses it: a UUID of version 4 or 7. */
const RANDOM_ID = /^[\da-f]{8}-[\da-f]{4}-[47][\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/i;

/**
 * Every publish request from the network passes this gateway before the bus. The gateway checks the principal's
 * permission for each project, and the principal's rate limit.
 */
export class PublishGateway<R extends Registry> {
  readonly bus: EventBus<R>;
  /** Rate limits by user id (`sub`). */
  readonly #buckets: TokenBuckets;
  readonly #onTook: (user: string, events: number) => void;

  /** `onTook`: called with the events that users publish here, for the other servers of the log. */
  constructor(
    bus: EventBus<R>,
    { publishedPerSecond }: Limits,
    onTook: (user: string, events: number) => void = () => undefined,
  ) {
    this.bus = bus;
    this.#buckets = new TokenBuckets(publishedPerSecond);
    this.#onTook = onTook;
  }

  /** Publishes a principal's events. Throws `FORBIDDEN`, `RATE_LIMITED`, and the errors of {@link EventBus.publish}. */
  async publish(principal: Principal, events: readonly DraftOf<R>[], onPhi: PhiPolicy | undefined): Promise<Published> {
    requirePermission(principal, 'publish');
    // Before the allowance: a request that is refused for its size does not use it up.
    const count = requireDraftCount(events);
    events.forEach((event, index) => {
      const { projectId, runId, eventId } = (event ?? {}) as { [field: string]: unknown };
      if (typeof projectId !== 'string') return; // Refused by the schema.
      if (can(principal, 'publish', { projectId, runId: typeof runId === 'string' ? runId : undefined })) {
        if (principal.runId !== undefined) requireRandomId(eventId, index);
        return;
      }
      const isOfRun = principal.runId !== undefined && principal.projects.includes(projectId);
      const [name, what] = isOfRun ? ['runId', 'run'] : ['projectId', 'project'];
      throw new RunwireError('FORBIDDEN', `not allowed: publish to this ${what}`, { path: `events.${index}.${name}` });
    });
    if (!this.takeAllowance(principal, count)) throw new RunwireError('RATE_LIMITED', 'too many events a second');
    const charge = (more: number) => {
      if (more === 0) return;
      this.#buckets.charge(principal.sub, more);
      this.#onTook(principal.sub, more);
    };
    return this.bus.publish(events, { actor: principal.sub, onPhi, charge });
  }

  /** Counts events against a principal's rate limit. Returns false, and counts nothing, if they exceed the limit. */
  takeAllowance({ sub }: Principal, events: number): boolean {
    if (!this.#buckets.take(sub, events)) return false;
    this.#onTook(sub, events);
    return true;
  }

  /** Counts events that a user has published on another server of the log. */
  tookElsewhere(user: string, events: number): void {
    this.#buckets.charge(user, events);
  }
}

/**
 * Ids are unique in a project. A principal of one run that guessed the id of another run's coming event could publish it
 * first, and that event would be taken for its repetition.
 */
function requireRandomId(eventId: unknown, index: number): void {
  if (typeof eventId !== 'string' || RANDOM_ID.test(eventId)) return;
  const [path, message] = [
    `events.${index}.eventId`,
    'with a token of one run, must be a UUID of version 4 or 7, or absent',
  ];
  const issues = [{ index, path: 'eventId', message }];
  throw new RunwireError('INVALID_EVENT', `${path}: ${message}`, { path, issues });
}
