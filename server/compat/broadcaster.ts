import { formerEventOf, type Payload } from './drafts.ts';
import { WebSocketManager } from './manager.ts';

/** The data of a run's event. An event without `projectId` belongs to the project that an earlier one of its run has named. */
export type RunData = Payload & { runId: string };

/**
 * The broadcaster of the former system: each method sends one event of a run to the pages that show it, and makes it part of the
 * run. The promise resolves once the event is durable, and may be ignored.
 */
export class RunEventBroadcaster {
  readonly #manager: Pick<WebSocketManager, 'publish'>;

  constructor(manager: Pick<WebSocketManager, 'publish'>) {
    this.#manager = manager;
  }

  broadcastRunCreated(data: RunData & { projectId: string }): Promise<void> {
    return this.#publish('run.created', data);
  }
  broadcastRunStarted(data: RunData): Promise<void> {
    return this.#publish('run.started', data);
  }
  broadcastRunCompleted(data: RunData): Promise<void> {
    return this.#publish('run.completed', data);
  }
  broadcastRunFailed(data: RunData): Promise<void> {
    return this.#publish('run.failed', data);
  }
  broadcastStageStarted(data: RunData): Promise<void> {
    return this.#publish('stage.started', data);
  }
  broadcastStageProgress(data: RunData): Promise<void> {
    return this.#publish('stage.progress', data);
  }
  broadcastStageCompleted(data: RunData): Promise<void> {
    return this.#publish('stage.completed', data);
  }
  broadcastStageFailed(data: RunData): Promise<void> {
    return this.#publish('stage.failed', data);
  }
  broadcastArtifactCreated(data: RunData): Promise<void> {
    return this.#publish('artifact.created', data);
  }
  broadcastGovernanceRequired(data: RunData): Promise<void> {
    return this.#publish('governance.required', data);
  }
  broadcastApprovalGranted(data: RunData): Promise<void> {
    return this.#publish('approval.granted', data);
  }
  broadcastApprovalDenied(data: RunData): Promise<void> {
    return this.#publish('approval.denied', data);
  }

  #publish(type: string, data: RunData): Promise<void> {
    return this.#manager.publish(formerEventOf(type, data));
  }
}

/** The two objects that the former system shared in a process. Its application has them as imports, so they are state of a module. */
export const webSocketManager: WebSocketManager = new WebSocketManager();
/** The broadcaster of the former system, which publishes on the server that `webSocketManager` has started. */
export const runEventBroadcaster: RunEventBroadcaster = new RunEventBroadcaster(webSocketManager);
