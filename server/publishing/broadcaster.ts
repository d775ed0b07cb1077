import type { RunEventDraft, RunEventType, RunwireEvents } from '../../shared/events.ts';
import type { EventBus } from './bus.ts';

/** The draft of an event type, without its type. */
export type BroadcastData<T extends RunEventType> = Omit<Extract<RunEventDraft, { type: T }>, 'type'>;
/** The event's position in the log and in its run, and its id. */
export type Broadcast = { seq: number; runSeq: number; eventId: string };

/**
 * The broadcaster: one typed method per event type of the twelve, for server code. Each publishes a single event through
 * the bus, resolves once the event is durable, and throws what {@link EventBus.publish} throws. Own event types are
 * published with the bus itself.
 */
export class RunEventBroadcaster {
  readonly #bus: Pick<EventBus<RunwireEvents>, 'publish'>;
  readonly #actor: string;

  /** `actor` of the events; default `server`. */
  constructor(bus: Pick<EventBus<RunwireEvents>, 'publish'>, { actor = 'server' }: { actor?: string } = {}) {
    this.#bus = bus;
    this.#actor = actor;
  }

  broadcastRunCreated(data: BroadcastData<'run.created'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'run.created' });
  }
  broadcastRunStarted(data: BroadcastData<'run.started'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'run.started' });
  }
  broadcastRunCompleted(data: BroadcastData<'run.completed'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'run.completed' });
  }
  broadcastRunFailed(data: BroadcastData<'run.failed'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'run.failed' });
  }
  broadcastStageStarted(data: BroadcastData<'stage.started'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'stage.started' });
  }
  broadcastStageProgress(data: BroadcastData<'stage.progress'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'stage.progress' });
  }
  broadcastStageCompleted(data: BroadcastData<'stage.completed'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'stage.completed' });
  }
  broadcastStageFailed(data: BroadcastData<'stage.failed'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'stage.failed' });
  }
  broadcastArtifactCreated(data: BroadcastData<'artifact.created'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'artifact.created' });
  }
  broadcastGovernanceRequired(data: BroadcastData<'governance.required'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'governance.required' });
  }
  broadcastApprovalGranted(data: BroadcastData<'approval.granted'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'approval.granted' });
  }
  broadcastApprovalDenied(data: BroadcastData<'approval.denied'>): Promise<Broadcast> {
    return this.#publish({ ...data, type: 'approval.denied' });
  }

  async #publish(draft: RunEventDraft): Promise<Broadcast> {
    const { receipts } = await this.#bus.publish([draft], { actor: this.#actor, isTrusted: true });
    const [receipt] = receipts;
    if (!receipt) throw new Error('the bus returned no receipt');
    return { seq: receipt.seq, runSeq: receipt.runSeq, eventId: receipt.eventId };
  }
}
