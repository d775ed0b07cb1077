import type { ReadyDraft } from '../server/event-log/contract/log.ts';
import type { EventLog } from '../server/event-log/contract/store.ts';
import { openSqliteLog } from '../server/event-log/sqlite/log.ts';
import { foldEvent } from '../shared/events.ts';
import { type Bench, ratio } from './lines.ts';

/** The cost of an append, by the size of its run. */

let drafted = 0;
const draft = (runId: string, type: string, fields: object): ReadyDraft => {
  const index = drafted++;
  return {
    type,
    projectId: 'bench',
    runId,
    timestamp: new Date(1_700_000_000_000 + index).toISOString(),
    eventId: `event-${String(index).padStart(10, '0')}`,
    ...fields,
  };
};
const secondsOf = async (work: () => unknown): Promise<number> => {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1_000;
};

const openLog = (path: string): Promise<EventLog> => openSqliteLog({ path, fold: foldEvent as never });

export async function runSize(bench: Bench): Promise<void> {
  const { report } = bench;
  report.line('Appending to a run, by its size (batches of 10, each event of another stage)');
  const log = await openLog(bench.pathOf('run-size'));
  const fill = async (runId: string, stages: number, events: number) => {
    await log.append({ actor: 'bench', drafts: [draft(runId, 'run.created', { name: runId })] });
    for (let index = 0; index < events; index += 500) {
      const drafts = Array.from({ length: Math.min(500, events - index) }, (_, each) => {
        const stageId = `stage-${(index + each) % stages}`;
        return index + each < stages
          ? draft(runId, 'stage.started', { stageId })
          : draft(runId, 'stage.progress', { stageId, progress: (index + each) % 100 });
      });
      await log.append({ actor: 'bench', drafts });
    }
  };
  const stages = bench.isQuick ? 1_000 : 10_000;
  await fill('small', 10, 10);
  await fill('large', stages, 10 * stages);
  let at = 0;
  const append = async (runId: string, of: number) => {
    for (let batch = 0; batch < 200; batch++) {
      const drafts = Array.from({ length: 10 }, () =>
        draft(runId, 'stage.progress', { stageId: `stage-${(at++ * 7) % of}`, progress: at % 100 }),
      );
      await log.append({ actor: 'bench', drafts });
    }
  };
  // Ends and starts change `currentStageId`, the only field that depends on other stages.
  const churn = async (runId: string, of: number) => {
    for (let batch = 0; batch < 100; batch++) {
      const drafts = Array.from({ length: 10 }, () => `stage-${(at++ * 7) % of}`).flatMap((stageId) => [
        draft(runId, 'stage.started', { stageId, attempt: at }),
        draft(runId, 'stage.completed', { stageId, attempt: at }),
      ]);
      await log.append({ actor: 'bench', drafts });
    }
  };
  const micros = async (work: () => Promise<void>) => ((await secondsOf(work)) / 2_000) * 1e6;
  const size = `${stages.toLocaleString('en-US')} stages, ${(10 * stages).toLocaleString('en-US')} events`;
  const samples = await bench.inTurn(
    new Map<string, () => Promise<number>>([
      ['small', () => micros(() => append('small', 10))],
      ['large', () => micros(() => append('large', stages))],
      ['smallChurn', () => micros(() => churn('small', 10))],
      ['largeChurn', () => micros(() => churn('large', stages))],
    ]),
    (cost) => cost(),
  );
  const row = (name: string, key: string) => report.row(name, 'µs/event', samples.get(key) ?? []);
  const [small, large] = [row('progress: 10 stages, 10 events', 'small'), row(`progress: ${size}`, 'large')];
  report.note(`the large run costs ${ratio(large, small).toFixed(2)} × the small one`);
  const churned = [row('start and end: 10 stages', 'smallChurn'), row(`start and end: ${size}`, 'largeChurn')];
  report.note(`the large run costs ${ratio(churned[1], churned[0]).toFixed(2)} × the small one`);
  await log.close();
}
