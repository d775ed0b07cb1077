import { randomBytes } from 'node:crypto';
import { fetchRun } from '../../client/connection/fetch-run.ts';
import { createRunwireClient } from '../../client/index.ts';
import type { EventPublisher, PublisherDraft } from '../../client/publisher/index.ts';
import { RunwireError } from '../../shared/errors.ts';
import type { Approval } from '../../shared/run.ts';
import { can } from '../auth/permissions.ts';
import { callerOf, webSocketOf } from './call.ts';
import { serverErrorOf } from './errors.ts';
import { idOrFallback, slugOf } from './ids.ts';
import { toMessage } from './output-lines.ts';
import type { Target } from './target.ts';

/**
 * The gate before a stage of `exec`: requests an approval, and waits for the decision without a time limit. `exec` runs
 * its commands even without a server. Only a gate needs the server: it opens after the server has confirmed a grant.
 */

export type GateOptions = {
  target: Target;
  publisher: EventPublisher;
  projectId: string;
  runId: string;
  stage: { stageId: string; name: string };
  title: string;
  /** Ends the wait: the gate then rejects with the signal's reason. */
  signal: AbortSignal;
};

/** Delay before a failed query for the approval is sent again. */
const RETRY_MS = 1_000;
/** Time limit of the check before the first command, so that a slow server does not delay the commands. */
const CHECK_MS = 5_000;

export type Request = Extract<PublisherDraft, { type: 'governance.required' }>;

/** Builds a request with a new approval id: if a run id is used again, earlier grants must not open the gates. */
export const requestOf = ({ runId, stage, title }: Pick<GateOptions, 'runId' | 'stage' | 'title'>): Request => {
  const unique = randomBytes(4).toString('hex');
  const approvalId = idOrFallback(`${slugOf(title) || 'approval'}-${unique}`, `approval-${unique}`);
  return { type: 'governance.required', runId, approvalId, title, stageId: stage.stageId };
};

/** Throws if the token may not read the run, and so no decision. Passes if the server does not answer. */
export async function requireReadable(target: Target, run: { projectId: string; runId: string }): Promise<void> {
  const { client, connection } = clientOf(target);
  try {
    const me = await client.auth.me.query(undefined, { signal: AbortSignal.timeout(CHECK_MS) });
    if (can(callerOf(me), 'read', run)) return;
  } catch (error) {
    const known = serverErrorOf(error);
    if (known.isRetryable) return;
    throw known;
  } finally {
    await connection.close();
  }
  throw new RunwireError('FORBIDDEN', '--approve needs a token that can read the project: add the role viewer');
}

/** Requests an approval, and resolves once it is decided or has expired. Rejects if the decision cannot be read. */
export async function passGate(options: GateOptions): Promise<Approval> {
  const { target, publisher, projectId, runId, stage, title, signal } = options;
  const request = requestOf(options);
  const { approvalId } = request;
  await abortable(publisher.publish(request), signal);
  process.stderr.write(
    `runwire: waiting for approval "${toMessage(title)}" (${approvalId}) of run ${runId} in ${projectId} before stage ${toMessage(stage.name)}; the requester cannot grant it\n`,
  );

  const { client, connection } = clientOf(target);
  let retry: NodeJS.Timeout | undefined;
  const decided = new Promise<Approval>((resolve, reject) => {
    const check = async (): Promise<void> => {
      clearTimeout(retry);
      try {
        const [{ sub }, { run }] = await Promise.all([client.auth.me.query(), fetchRun(client, { projectId, runId })]);
        const approval = run.approvals.find((candidate) => candidate.approvalId === approvalId);
        if (approval && (approval.requestActor !== sub || approval.authority !== 'runwire')) reject(takenError());
        else if (approval && approval.status !== 'pending') resolve(approval);
      } catch (error) {
        const known = serverErrorOf(error);
        if (known.isRetryable) retry = setTimeout(() => void check(), RETRY_MS);
        else reject(known);
      }
    };
    const ended = () => reject(new RunwireError('UNAVAILABLE', 'the server ended the subscription'));
    // Each item of the subscription causes a check: a decision, a gap, and at the start `stream.live`.
    client.onRunEvent.subscribe(
      { projectId, runId, types: ['approval.granted', 'approval.denied'] },
      { onData: () => void check(), onError: (error) => reject(serverErrorOf(error)), onComplete: ended },
    );
    connection.subscribe(() => {
      const { state, error } = connection.getStatus();
      if (state === 'failed') reject(error ?? new RunwireError('UNAVAILABLE', 'the connection failed'));
    });
  });
  try {
    return await abortable(decided, signal);
  } finally {
    clearTimeout(retry);
    await connection.close();
  }
}

const takenError = () =>
  new RunwireError('APPROVAL_ID_TAKEN', 'another actor has requested an approval with the id of this one');

const clientOf = (target: Target) =>
  createRunwireClient({
    ...target,
    WebSocket: webSocketOf(target),
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
