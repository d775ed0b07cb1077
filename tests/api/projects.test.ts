import { expect, onTestFinished, test } from 'vitest';
import type { RunEventDraft } from '../../shared/events.ts';
import { created, everyone, openServer } from '../support/harness.ts';

const draft = (runId: string, type: string, projectId: string) => ({ projectId, runId, type }) as RunEventDraft;

test('[U21] [A4] project.list returns the readable projects with their running runs', async () => {
  const server = await openServer();
  onTestFinished(() => server.close());
  const inProject = (runId: string, projectId: string) => created(runId, { projectId });
  await server.bus.publish(
    [
      inProject('r1', 'b'),
      draft('r1', 'run.started', 'b'),
      inProject('r2', 'b'),
      draft('r2', 'run.started', 'b'),
      draft('r2', 'run.completed', 'b'),
      inProject('r3', 'a'),
      inProject('r4', 'c'),
      draft('r4', 'run.started', 'c'),
    ],
    { actor: 'ci' },
  );
  const listed = async (projects: readonly string[], roles = everyone.roles) =>
    (await server.router.createCaller({ principal: { ...everyone, projects, roles } }).project.list()).projects;
  expect(await listed(['*'])).toEqual([
    { projectId: 'a', running: 0 },
    { projectId: 'b', running: 1 },
    { projectId: 'c', running: 1 },
  ]);
  expect(await listed(['c', 'a', 'none'])).toEqual([
    { projectId: 'a', running: 0 },
    { projectId: 'c', running: 1 },
  ]);
  expect(await listed(['*'], ['producer'])).toEqual([]);
});
