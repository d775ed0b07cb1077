import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { createPublisher, type EventPublisher } from 'runwire/publisher';
import { createToken, url } from './session.ts';

const chapters = ['Sales', 'Costs', 'Outlook'];

/** Creates the run of a report, and returns its id. The report is written behind it. */
export async function startReport(): Promise<string> {
  const runId = `report-${randomUUID()}`;
  const publisher = createPublisher({ url: url(), token: () => createToken('producer'), projectId: 'reports' });
  await publisher.publish({ type: 'run.created', runId, name: 'Quarterly report' });
  writeChapters(publisher, runId)
    .catch(console.error)
    .finally(() => publisher.close());
  return runId;
}

async function writeChapters(publisher: EventPublisher, runId: string): Promise<void> {
  for (const [index, name] of chapters.entries()) {
    const stage = { runId, stageId: `chapter-${index + 1}` };
    await publisher.publish({ type: 'stage.started', ...stage, name });
    await setTimeout(500);
    await publisher.publish({ type: 'stage.completed', ...stage });
  }
  await publisher.publish({ type: 'run.completed', runId });
}
