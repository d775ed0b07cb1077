import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AnyWebSocketEvent, ApprovalGrantedEvent, StageProgressEvent } from '../../../../server/compat/index.ts';
import {
  AnyWebSocketEventSchema,
  isValidWebSocketEvent,
  runEventBroadcaster,
  webSocketManager,
} from '../../../../server/compat/index.ts';

/** Runs a pipeline of one stage and reports every step of it. */
async function runPipeline(runId: string, projectId: string, userId: string) {
  const run = { runId, projectId };
  await runEventBroadcaster.broadcastRunCreated({ ...run, userId, name: 'Cohort analysis' });
  await runEventBroadcaster.broadcastRunStarted({ ...run });

  const stage = { ...run, stageId: 'extract', stageName: 'Extract' };
  await runEventBroadcaster.broadcastStageStarted(stage);
  for (const progress of [25, 50, 100]) {
    await runEventBroadcaster.broadcastStageProgress({ ...stage, progress, message: `${progress} %` });
  }
  await runEventBroadcaster.broadcastStageCompleted({ ...stage, duration: 1200 });
  await runEventBroadcaster.broadcastArtifactCreated({
    ...run,
    stageId: 'extract',
    artifactId: 'table-1',
    artifactType: 'table',
    name: 'cohort.csv',
  });
  await runEventBroadcaster.broadcastGovernanceRequired({
    ...run,
    approvalId: 'approval-1',
    reason: 'Export of a table',
  });
}

type Body = { projectId: string; userId: string; approved?: boolean };

function finish(runId: string, { projectId, userId, approved }: Body) {
  const run = { runId, projectId };
  if (approved) {
    runEventBroadcaster.broadcastApprovalGranted({ ...run, approvalId: 'approval-1', approvedBy: userId });
    runEventBroadcaster.broadcastRunCompleted({ ...run, duration: 5000 });
    return;
  }
  const reason = 'Too few rows';
  runEventBroadcaster.broadcastApprovalDenied({ ...run, approvalId: 'approval-1', deniedBy: userId, reason });
  const error = 'Export was refused';
  runEventBroadcaster.broadcastStageFailed({ ...run, stageId: 'export', stageName: 'Export', error });
  runEventBroadcaster.broadcastRunFailed({ ...run, error });
}

/** Sends an event by hand, past the broadcaster. */
function notify(target: string, id: string, event: AnyWebSocketEvent) {
  if (target === 'run') webSocketManager.broadcastToRun(id, event);
  else if (target === 'project') webSocketManager.broadcastToProject(id, event);
  else if (target === 'user') webSocketManager.broadcastToUser(id, event);
  else webSocketManager.broadcastToAll(event);
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text === '' ? {} : JSON.parse(text);
}

export async function handleRequest(request: IncomingMessage, response: ServerResponse) {
  const [, , action, target = '', id = ''] = (request.url ?? '').split('/');
  const body = await bodyOf(request);
  const answer = (status: number, value: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  if (action === 'start') {
    const { projectId, userId } = body as Body;
    await runPipeline(target, projectId, userId);
    answer(200, { ok: true });
  } else if (action === 'finish') {
    finish(target, body as Body);
    answer(200, { ok: true });
  } else if (action === 'notify') {
    if (isValidWebSocketEvent(body)) {
      notify(target, id, body);
      answer(200, { ok: true });
    } else {
      answer(400, { error: AnyWebSocketEventSchema.safeParse(body).error?.message });
    }
  } else if (action === 'stats') {
    answer(200, webSocketManager.getStats());
  } else {
    answer(404, { error: 'not found' });
  }
}

export function progressOf(runId: string, projectId: string, progress: number): StageProgressEvent {
  return {
    type: 'stage.progress',
    timestamp: new Date().toISOString(),
    payload: { runId, projectId, stageId: 'extract', stageName: 'Extract', progress },
  };
}

export function grantOf(runId: string, projectId: string, userId: string): ApprovalGrantedEvent {
  return {
    type: 'approval.granted',
    timestamp: new Date().toISOString(),
    payload: { runId, projectId, approvalId: 'approval-1', approvedBy: userId },
  };
}
