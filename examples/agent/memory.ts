import type { RunServer } from 'runwire/server';
import type { events } from './events.ts';
import type { Call } from './model.ts';

/** What the log has of a run. The keys are the stages: each step of the agent is one. */
export type Memory = {
  calls: Map<string, Call>;
  approvalIds: Map<string, string>;
  outputs: Map<string, string>;
  isOver: boolean;
};

export async function recall(
  { router }: RunServer<typeof events>,
  run: { projectId: string; runId: string },
  actor: string,
): Promise<Memory> {
  const memory: Memory = { calls: new Map(), approvalIds: new Map(), outputs: new Map(), isOver: false };
  const caller = router.createCaller({ principal: { sub: actor, projects: [run.projectId], roles: ['viewer'] } });
  let cursor: string | undefined;
  do {
    const page = await caller.run.history({ ...run, cursor });
    for (const event of page.events) {
      if (event.type === 'run.completed' || event.type === 'run.failed') memory.isOver = true;
      if (event.actor !== actor) continue; // Other producers of the project do not decide what the agent does.
      if (event.type === 'tool.called') memory.calls.set(event.stageId, event);
      if (event.type === 'governance.required' && event.stageId) {
        memory.approvalIds.set(event.stageId, event.approvalId);
      }
      if (event.type === 'tool.returned') memory.outputs.set(event.stageId, event.output);
    }
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return memory;
}
