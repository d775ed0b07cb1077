import { RunwireError } from '../../../shared/errors.ts';
import type { RunwireEvents } from '../../../shared/events.ts';
import { REQUEST_LIMIT_DRAFTS } from '../../../shared/protocol.ts';
import type { Registry } from '../../../shared/registry.ts';
import { can } from '../../auth/permissions.ts';
import type { Principal } from '../../auth/principal.ts';
import type { Privacy } from '../../phi/identifiers.ts';
import { publishWithholding } from '../../phi/withhold.ts';
import type { EventBus } from '../../publishing/bus.ts';
import type { PublishGateway } from '../../publishing/gateway.ts';
import { draftsOf, type IdFor, readLineage } from './map.ts';
import { RunTree } from './run-tree.ts';

export type Accepted = { accepted: number; duplicates: number };

/** Maps OpenLineage events to drafts (Runwire events before they are logged), and publishes them. */
export class LineageIntake<R extends Registry> {
  readonly #gateway: PublishGateway<R>;
  readonly #idFor: IdFor;
  readonly #tree = new RunTree();

  constructor(gateway: PublishGateway<R>, privacy: Pick<Privacy, 'idFor'>) {
    this.#gateway = gateway;
    this.#idFor = (kind, id, name) => privacy.idFor(kind, id, name);
  }

  /**
   * Counts events against the rate limit of the principal. Throws `UNAVAILABLE` (503) over the limit: OpenLineage
   * clients drop an event that is answered with 429.
   */
  admit(principal: Principal, events: number): void {
    if (this.#gateway.takeAllowance(principal, events)) return;
    throw new RunwireError('UNAVAILABLE', 'too many events a second');
  }

  /** Publishes one OpenLineage event. Throws `FORBIDDEN`, `INVALID_INPUT`, `PHI_REJECTED`, `UNAVAILABLE`. */
  async publish(principal: Principal, body: unknown): Promise<Accepted> {
    const { projects, sub: actor } = principal;
    const bus = this.#gateway.bus as unknown as EventBus<RunwireEvents>;
    const event = readLineage(body, this.#idFor);
    if (!event) return { accepted: 0, duplicates: 0 };
    const total = { accepted: 0, duplicates: 0 };
    try {
      const places = this.#tree.place(event, projects);
      for (const { run } of places) {
        if (can(principal, 'publish', run)) continue;
        throw new RunwireError('FORBIDDEN', 'not allowed: publish to this project', { path: 'job.namespace' });
      }
      const drafts = places.flatMap((place) => draftsOf(event, place));
      for (let at = 0; at < drafts.length; at += REQUEST_LIMIT_DRAFTS) {
        const page = drafts.slice(at, at + REQUEST_LIMIT_DRAFTS);
        const { accepted, duplicates } = await publishWithholding(page, (drafts) =>
          bus.publish(drafts, { actor, onPhi: 'redact' }),
        );
        total.accepted += accepted;
        total.duplicates += duplicates;
      }
    } catch (error) {
      this.#tree.forget(event, projects);
      throw error;
    }
    return total;
  }
}
