import type { RunView } from './run.ts';
import { compareApprovals, compareArtifacts, compareStages } from './run-order.ts';

/**
 * Merges the pages of a large run (`run.get`). The last page has the current header. Of two rows with the same id, the row
 * of the later page is current.
 */
export function mergeRunPages(pages: readonly [RunView, ...RunView[]]): RunView {
  const last = pages.at(-1) as RunView;
  if (pages.length === 1) return last;
  const latest = <Row>(rows: readonly Row[], idOf: (row: Row) => string): Row[] => [
    ...new Map(rows.map((row) => [idOf(row), row])).values(),
  ];
  return {
    ...last,
    stages: latest(
      pages.flatMap(({ stages }) => stages),
      ({ stageId }) => stageId,
    ).sort(compareStages),
    artifacts: latest(
      pages.flatMap(({ artifacts }) => artifacts),
      ({ artifactId }) => artifactId,
    ).sort(compareArtifacts),
    approvals: latest(
      pages.flatMap(({ approvals }) => approvals),
      ({ approvalId }) => approvalId,
    ).sort(compareApprovals),
  };
}
