import type { RunEventDraft, RunEventType, RunwireEvents } from '../../shared/events.ts';
import type { EventBus } from './bus.ts';

/** What an emitter takes: the draft of its type, without the type. */
export type BroadcastData<T extends RunEventType> = Omit<Extract<RunEventDraft, { type: T }>, 'type'>;
/** Where the event stands in the log and in its run. */
export type Broadcast = { seq: number; runSeq: number; eventId: string };

/**
 * The twelve typed emitters for server code. Each validates, fills in the timestamp and the event id where they are
 * missing, and resolves once the event is durable; each throws what {@link EventBus.publish} throws.
 */
export class RunEventBroadcaster {
  readonly #bus: Pick<EventBus<RunwireEvents>, 'publish'>;
  readonly #actor: string;

  /** `actor` stands in the events as who published them; default `server`. */
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
    if (!receipt) throw new Error('a published draft has a receipt');
    return { seq: receipt.seq, runSeq: receipt.runSeq, eventId: receipt.eventId };
  }
}
