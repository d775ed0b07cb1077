import { randomUUID } from 'node:crypto';
import type { DraftOf } from 'runwire/events';
import type { RunServer } from 'runwire/server';
import type { events } from './events.ts';
import { type Memory, recall } from './memory.ts';
import { decide, type Step } from './model.ts';
import { tools } from './tools.ts';

type Server = RunServer<typeof events>;
type Run = { projectId: string; runId: string };

const ACTOR = 'agent';

/**
 * Works on a task until it is done. The log is the agent's memory: after a restart, the same call goes on behind the last
 * step. Events with an `eventId` are stored once, however often they are published.
 */
export async function work(server: Server, run: Run, task: string): Promise<void> {
  const publish = (...drafts: DraftOf<typeof events>[]) => server.bus.publish(drafts, { actor: ACTOR });
  const idOf = (name: string) => `${run.runId}/${name}`;

  await publish({ ...run, type: 'run.created', name: task, eventId: idOf('created') });
  const memory = await recall(server, run, ACTOR);
  if (memory.isOver) return;

  const steps: Step[] = [];
  for (;;) {
    const stageId = `step-${steps.length + 1}`;
    const decision = memory.calls.get(stageId) ?? (await decide(task, steps));
    if ('answer' in decision) {
      await publish({ ...run, type: 'run.completed', summary: decision.answer });
      return;
    }
    const { tool: name, args } = decision;
    const tool = tools[name];
    if (!tool) throw new Error(`the model calls ${name}, which is no tool`);
    const stage = { ...run, stageId };
    await publish(
      { ...stage, type: 'stage.started', name, eventId: idOf(`${stageId}/started`) },
      { ...stage, type: 'tool.called', tool: name, args, eventId: idOf(`${stageId}/called`) },
    );

    let output = memory.outputs.get(stageId);
    if (output === undefined) {
      if (
        tool.needsApproval &&
        !(await isApproved(server, stage, `${name} ${Object.values(args).join(' ')}`, memory))
      ) {
        await publish({ ...run, type: 'run.failed', stageId, error: { message: `${name} was not approved` } });
        return;
      }
      console.log(`${name} ${JSON.stringify(args)}`);
      output = await tool.run(args, (progress) => publish({ ...stage, type: 'stage.progress', ...progress }));
      await publish({ ...stage, type: 'tool.returned', output }, { ...stage, type: 'stage.completed' });
    }
    steps.push({ tool: name, args, output });
  }
}

/** Asks for an approval, or waits for the one that was asked for before the restart. */
async function isApproved(server: Server, stage: Run & { stageId: string }, title: string, memory: Memory) {
  const approvalId = memory.approvalIds.get(stage.stageId) ?? `${stage.stageId}-${randomUUID()}`;
  const { projectId, runId } = stage;
  if (!memory.approvalIds.has(stage.stageId)) {
    const request = { ...stage, type: 'governance.required', approvalId, title } as const;
    await server.bus.publish([request], { actor: ACTOR });
  }
  console.log(`waits for the approval of ${title}`);
  const { status } = await server.approvals.wait({ projectId, runId, approvalId, requestActor: ACTOR });
  return status === 'granted';
}
