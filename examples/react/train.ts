import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { RunServer } from 'runwire/server';
import type { events } from './events.ts';

type Server = RunServer<typeof events>;
type Run = { projectId: string; runId: string };

const accuracies = [0.61, 0.78, 0.86, 0.9];

/** Creates the run of a training, and returns its id. The training goes on behind it. */
export async function train(server: Server): Promise<string> {
  const run = { projectId: 'models', runId: `training-${randomUUID()}` };
  await server.broadcaster.broadcastRunCreated({
    ...run,
    name: 'Train the classifier',
    stages: [
      { stageId: 'train', name: 'Train' },
      { stageId: 'publish', name: 'Publish' },
    ],
  });
  trainAndPublish(server, run).catch(console.error);
  return run.runId;
}

async function trainAndPublish({ broadcaster, bus, approvals }: Server, run: Run): Promise<void> {
  const training = { ...run, stageId: 'train' };
  await broadcaster.broadcastStageStarted(training);
  for (const [index, accuracy] of accuracies.entries()) {
    await setTimeout(400);
    await bus.publish([{ type: 'epoch.finished', ...run, epoch: index + 1, accuracy }], { actor: 'trainer' });
    await broadcaster.broadcastStageProgress({ ...training, done: index + 1, total: accuracies.length });
  }
  await broadcaster.broadcastStageCompleted(training);

  const publishing = { ...run, stageId: 'publish' };
  const approvalId = `publish-${randomUUID()}`;
  await broadcaster.broadcastGovernanceRequired({ ...publishing, approvalId, title: 'Publish the classifier' });
  const { status } = await approvals.wait({ ...run, approvalId });
  if (status !== 'granted') {
    const error = { message: `The publication was ${status}` };
    await broadcaster.broadcastRunFailed({ ...run, error });
    return;
  }
  await broadcaster.broadcastStageStarted(publishing);
  await broadcaster.broadcastStageCompleted(publishing);
  await broadcaster.broadcastRunCompleted(run);
}
