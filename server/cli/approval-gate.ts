import { randomBytes } from 'node:crypto';
import { WebSocket } from 'ws';
import { createRunwireClient } from '../../client/index.ts';
import type { EventPublisher, PublisherDraft } from '../../client/publisher/index.ts';
import { errorTable, RunwireError } from '../../shared/errors.ts';
import type { Approval } from '../../shared/run.ts';
import { can } from '../auth/permissions.ts';
import { refusalOf } from './errors.ts';
import { idOrFallback, slugOf } from './ids.ts';
import { toMessage } from './output-lines.ts';
import type { Target } from './target.ts';

/**
 * A gate before a stage: asks for an approval, and waits for as long as it takes. Other than the rest of `exec`, which
 * works without a server, a gate opens for nothing but a grant that the server has told of.
 */

export type GateOptions = {
  target: Target;
  publisher: EventPublisher;
  projectId: string;
  runId: string;
  stage: { stageId: string; name: string };
  title: string;
  /** Gives up waiting: rejects with its reason. */
  signal: AbortSignal;
};

/** A question that failed is asked again after so long. */
const RETRY_MS = 1_000;
/** What is asked before anything is run must not hold it up. */
const CHECK_MS = 5_000;

export type Request = Extract<PublisherDraft, { type: 'governance.required' }>;

/** The id is another one each time: a run id that is used again must not find its gates open. */
export const requestOf = ({ runId, stage, title }: Pick<GateOptions, 'runId' | 'stage' | 'title'>): Request => {
  const unique = randomBytes(4).toString('hex');
  const approvalId = idOrFallback(`${slugOf(title) || 'approval'}-${unique}`, `approval-${unique}`);
  return { type: 'governance.required', runId, approvalId, title, stageId: stage.stageId };
};

/** Throws when it is known already that no grant could be heard of. A server that does not answer says nothing. */
export async function demandReadable(target: Target, projectId: string): Promise<void> {
  const { client, connection } = clientOf(target);
  try {
    const { sub, projects, roles } = await client.auth.me.query(undefined, { signal: AbortSignal.timeout(CHECK_MS) });
    if (can({ sub, projects, roles }, 'read', { projectId })) return;
  } catch (error) {
    const refusal = refusalOf(error);
    if (errorTable[refusal.code].retryable) return;
    throw refusal;
  } finally {
    await connection.close();
  }
  throw new RunwireError('FORBIDDEN', '--approve needs a token that may read the project: give it the role viewer');
}

/** Resolves with the approval once it is decided. Rejects when that cannot be found out. */
export async function passGate(options: GateOptions): Promise<Approval> {
  const { target, publisher, projectId, runId, stage, title, signal } = options;
  const request = requestOf(options);
  const { approvalId } = request;
  process.stderr.write(
    `runwire: waits for approval "${toMessage(title)}" (${approvalId}) of run ${runId} in ${projectId} before stage ${toMessage(stage.name)}; who asks cannot grant it\n`,
  );
  await abortable(publisher.publish(request), signal);

  const { client, connection } = clientOf(target);
  let retry: NodeJS.Timeout | undefined;
  const decided = new Promise<Approval>((resolve, reject) => {
    const look = async (): Promise<void> => {
      clearTimeout(retry);
      try {
        const { run } = await client.run.get.query({ projectId, runId });
        const approval = run.approvals.find((candidate) => candidate.approvalId === approvalId);
        if (approval && approval.status !== 'pending') resolve(approval);
      } catch (error) {
        const refusal = refusalOf(error);
        if (errorTable[refusal.code].retryable) retry = setTimeout(() => void look(), RETRY_MS);
        else reject(refusal);
      }
    };
    const ended = () => reject(new RunwireError('UNAVAILABLE', 'the server has ended the subscription'));
    // Whatever comes is a reason to look: a decision, a gap, and first of all that there is nothing more to replay.
    client.onRunEvent.subscribe(
      { projectId, runId, types: ['approval.granted', 'approval.denied'] },
      { onData: () => void look(), onError: (error) => reject(refusalOf(error)), onComplete: ended },
    );
    connection.subscribe(() => {
      const { state, error } = connection.getStatus();
      if (state === 'failed') reject(error ?? new RunwireError('UNAVAILABLE', 'the connection has failed'));
    });
  });
  try {
    return await abortable(decided, signal);
  } finally {
    clearTimeout(retry);
    await connection.close();
  }
}

const clientOf = (target: Target) =>
  createRunwireClient({
    ...target,
    WebSocket,
    maxReconnectAttempts: Number.POSITIVE_INFINITY,
    reconnectDelayMs: 250,
    maxReconnectDelayMs: 5_000,
  });

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
