import type { RunHeader } from '../../../shared/run.ts';
import { jsonOf } from '../integrity/canonical.ts';

/**
 * The JSON text of a run's header, which almost every event writes again. Most events change the same few fields: the text of
 * the others is kept for the next event.
 */
export class HeaderText {
  #header: RunHeader | undefined;
  /** The other fields as JSON, up to their last comma. The fields of `order` are last. */
  #others = '';

  of(header: RunHeader): string {
    if (!this.#header || !areOthersAlike(this.#header, header)) this.#others = othersOf(header);
    this.#header = header;
    const { progress, lastSeq, lastRunSeq, currentStageId: id, currentStageName: name, order } = header;
    // Not kept: the fold of an own event type may set a label in place.
    const labels = JSON.stringify(header.labels);
    const current = order.current === undefined ? '' : `,"current":${jsonOf(order.current)}`;
    const stageId = id === undefined ? '' : `,"currentStageId":${jsonOf(id)}`;
    const stageName = name === undefined ? '' : `,"currentStageName":${jsonOf(name)}`;
    const moving = `"lastRunSeq":${jsonOf(lastRunSeq)},"progress":${jsonOf(progress)}${stageId}${stageName}`;
    return `${this.#others}"progressSum":${jsonOf(order.progressSum)}${current}},"labels":${labels},"lastSeq":${jsonOf(lastSeq)},${moving}}`;
  }
}

/** Written out: a loop over the names costs as much as the text. The test names a field that is missing here. */
function areOthersAlike(a: RunHeader, b: RunHeader): boolean {
  const [p, q] = [a.order, b.order];
  return (
    a.runId === b.runId &&
    a.projectId === b.projectId &&
    a.name === b.name &&
    a.status === b.status &&
    a.createdAt === b.createdAt &&
    a.startedAt === b.startedAt &&
    a.endedAt === b.endedAt &&
    a.durationMs === b.durationMs &&
    a.createdBy === b.createdBy &&
    a.parentRunId === b.parentRunId &&
    a.error === b.error &&
    a.stageError === b.stageError &&
    a.summary === b.summary &&
    a.counts === b.counts &&
    p.first === q.first &&
    p.created === q.created &&
    p.started === q.started &&
    p.active === q.active &&
    p.named === q.named &&
    p.end === q.end &&
    p.ended === q.ended &&
    p.failed === q.failed
  );
}

function othersOf(header: RunHeader): string {
  const { progress, lastSeq, lastRunSeq, currentStageId, currentStageName, labels, order, ...others } = header;
  const { progressSum, current, ...ofOrder } = order;
  return `${JSON.stringify(others).slice(0, -1)},"order":${JSON.stringify(ofOrder).slice(0, -1)},`;
}
