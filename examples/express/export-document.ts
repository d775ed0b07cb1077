import { setTimeout } from 'node:timers/promises';
import type { RunServer } from 'runwire/server';
import type { events } from './events.ts';

const wordsOfPages = [412, 388, 97];

/** Exports a document, and reports it as a run. */
export async function exportDocument({ broadcaster, bus }: RunServer<typeof events>, runId: string, name: string) {
  const run = { projectId: 'documents', runId };
  const stage = { ...run, stageId: 'render' };
  await broadcaster.broadcastRunCreated({ ...run, name, stages: [{ stageId: 'render', name: 'Render' }] });
  await broadcaster.broadcastStageStarted(stage);
  for (const [index, words] of wordsOfPages.entries()) {
    await setTimeout(300);
    await bus.publish([{ type: 'page.rendered', ...run, page: index + 1, words }], { actor: 'exporter' });
    await broadcaster.broadcastStageProgress({ ...stage, done: index + 1, total: wordsOfPages.length });
  }
  await broadcaster.broadcastStageCompleted(stage);
  await broadcaster.broadcastRunCompleted(run);
}
