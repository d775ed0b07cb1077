import type { RunEventDraft, RunEventType, RunwireEvents } from '../../shared/events.ts';
import { SERVER } from '../auth/principal.ts';
import type { EventBus } from './bus.ts';

/** The draft of an event type, without its type. */
export type BroadcastData<T extends RunEventType> = Omit<Extract<RunEventDraft, { type: T }>, 'type'>;
/** `seq` is the position of the event in the log, `runSeq` its position in the run. */
export type Broadcast = { seq: number; runSeq: number; eventId: string };

/**
 * Publishes single events from server code through the bus, with one typed method for each of Runwire's twelve event
 * types. Each method resolves once the event is durable, and throws the same errors as {@link EventBus.publish}. For
 * event types of its own, server code uses the bus.
 */
export class RunEventBroadcaster {
  readonly #bus: Pick<EventBus<RunwireEvents>, 'publish'>;
  readonly #actor: string;

  /** `actor` is the user id in the published events. Default `server`. */
  constructor(bus: Pick<EventBus<RunwireEvents>, 'publish'>, { actor = SERVER }: { actor?: string } = {}) {
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
