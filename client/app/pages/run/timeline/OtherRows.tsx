import { memo } from 'react';
import type { Approval, Stage } from '../../../../hooks/index.ts';
import { Status } from '../../../components/Status.tsx';
import { formatCount } from '../../../lib/format.ts';
import { shownOutcome } from '../axis.ts';
import { showOf } from './rows.ts';
import { type RowProps, WaitStrip } from './StageRow.tsx';
import { timesOf } from './times.ts';

type ApprovalProps = RowProps & { approval: Approval; endMs: number | undefined };

/** The row of an approval that belongs to no stage. */
export const ApprovalRow = memo(function ApprovalRow(props: ApprovalProps) {
  const { approval, index, topPx, endMs } = props;
  const isOver = approval.status === 'pending' && endMs !== undefined;
  return (
    <tr
      className="stage-row approval"
      aria-rowindex={index + 2}
      style={{ transform: `translateY(${topPx}px)` }}
      tabIndex={props.tabIndex}
      data-row={props.rowKey}
      data-index={index}
    >
      <th scope="row" className="stage-name" style={{ width: props.namePx }}>
        <Status value={isOver ? 'run ended first' : shownOutcome(approval.status)} />
        <bdi className="name" dir="auto" title={approval.title}>
          Approval: {approval.title}
        </bdi>
      </th>
      <td className="track">
        <WaitStrip {...props} />
      </td>
    </tr>
  );
});

type GroupProps = RowProps & {
  name: string;
  stages: readonly Stage[];
  isOpen: boolean;
  endMs: number | undefined;
  waiting: ReadonlySet<string>;
};

/** The row of a group: its name, how its stages stand, and a bar from its first start to its last end. */
export function GroupRow(props: GroupProps) {
  const { name, stages, isOpen, endMs, nowMs, scale, waiting } = props;
  const counts = { failed: 0, waiting: 0, running: 0, done: 0, 'not-run': 0 };
  let [fromMs, toMs] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const stage of stages) {
    counts[showOf(stage, endMs !== undefined, waiting)]++;
    const times = timesOf(stage);
    if (Number.isNaN(times.fromMs)) continue;
    fromMs = Math.min(fromMs, times.fromMs);
    toMs = Math.max(toMs, times.toMs ?? endMs ?? nowMs);
  }
  const words = (['failed', 'waiting', 'running', 'done', 'not-run'] as const)
    .filter((show) => counts[show] > 0)
    .map((show) => `${formatCount(counts[show])} ${show === 'not-run' ? 'not run' : show}`);
  const tone = counts.failed > 0 ? 'failed' : counts.running > 0 ? 'running' : 'completed';
  const left = scale.xOf(fromMs);
  return (
    <tr
      className="stage-row group"
      aria-rowindex={props.index + 2}
      aria-expanded={isOpen}
      style={{ transform: `translateY(${props.topPx}px)` }}
      tabIndex={props.tabIndex}
      data-row={props.rowKey}
      data-index={props.index}
    >
      <th scope="row" className="stage-name" style={{ width: props.namePx }}>
        <span aria-hidden="true">{isOpen ? '▾' : '▸'}</span>
        <bdi className="name" dir="auto">
          {name}
        </bdi>
        <small title={words.join(' · ')}>{words.join(' · ')}</small>
      </th>
      <td className="track">
        {toMs >= fromMs && (
          <span className={`envelope ${tone}`} style={{ left, width: Math.max(3, scale.xOf(toMs) - left) }} />
        )}
      </td>
    </tr>
  );
}
