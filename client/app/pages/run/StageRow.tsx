import { memo } from 'react';
import type { Approval, Stage } from '../../../hooks/index.ts';
import { Status, toneOf } from '../../components/Status.tsx';
import { steppable } from '../../hooks/useKeys.tsx';
import { formatDuration, formatPercent } from '../../lib/format.ts';
import { ParamLink } from '../../lib/navigation.tsx';
import { shownOutcome, shownStatus } from './axis.ts';

/** Minimum width of a bar. A narrower bar would be invisible. */
const MIN_BAR_PX = 3;

export type Scale = { startMs: number; pxPerMs: number };

type Props = {
  stage: Stage;
  approvals: readonly Approval[] | undefined;
  /** End of the run, if it has ended. */
  endedAt: string | undefined;
  /** The time in Unix ms. Always 0 for a row that does not change with time: the row is then not rendered each second. */
  nowMs: number;
  scale: Scale;
  namePx: number;
  index: number;
  topPx: number;
  isSelected: boolean;
};

export const StageRow = memo(function StageRow(props: Props) {
  const { stage, approvals, endedAt, index, topPx, isSelected } = props;
  const { stageId, name, attempt } = stage;
  const shown = shownStatus(stage, endedAt !== undefined);
  return (
    <tr
      className={isSelected ? 'stage-row selected' : 'stage-row'}
      aria-rowindex={index + 2}
      style={{ transform: `translateY(${topPx}px)` }}
    >
      <th scope="row" className="stage-name" style={{ width: props.namePx }}>
        <Status value={shown} />
        <ParamLink
          params={{ stage: isSelected ? undefined : stageId }}
          title={name === stageId ? name : `${name} (${stageId})`}
          aria-current={isSelected || undefined}
          {...steppable}
        >
          {name}
        </ParamLink>
        {attempt > 1 && (
          <span className="attempt" title={`Attempt ${attempt}`}>
            <span aria-hidden="true">×{attempt}</span>
            <span className="unseen">attempt {attempt}</span>
          </span>
        )}
      </th>
      <td className="track">
        <Bar {...props} tone={toneOf(shown)} />
        {approvals?.map((approval) => (
          <Wait key={approval.approvalId} {...props} approval={approval} />
        ))}
        <Note {...props} />
      </td>
    </tr>
  );
});

const xOf = (ms: number, { startMs, pxPerMs }: Scale) => (ms - startMs) * pxPerMs;
const place = (fromMs: number, toMs: number, scale: Scale) => {
  const left = xOf(fromMs, scale);
  return { left, width: Math.max(MIN_BAR_PX, xOf(toMs, scale) - left) };
};

/** Returns the start and the end of a stage in Unix ms; undefined before the start. A running stage ends at `nowMs`. */
function timesOf({ stage, endedAt, nowMs }: Props): { fromMs: number; toMs: number } | undefined {
  const start = stage.startedAt ?? stage.endedAt;
  if (start === undefined) return undefined;
  const fromMs = Date.parse(start);
  const end = stage.endedAt ?? endedAt;
  return { fromMs, toMs: Math.max(fromMs, end === undefined ? nowMs : Date.parse(end)) };
}

function Bar({ tone, ...props }: Props & { tone: string }) {
  const times = timesOf(props);
  if (!times) return null;
  const isOpen = props.stage.status === 'running';
  return (
    <span className={`bar-of ${tone}${isOpen ? ' open' : ''}`} style={place(times.fromMs, times.toMs, props.scale)}>
      <span className="fill" style={{ width: `${props.stage.progress}%` }} />
    </span>
  );
}

function Wait({ approval, ...props }: Props & { approval: Approval }) {
  const { title, requestedAt, decidedAt } = approval;
  const outcome = shownOutcome(approval.status);
  const fromMs = Date.parse(requestedAt);
  const end = decidedAt ?? props.endedAt;
  const toMs = Math.max(fromMs, end === undefined ? props.nowMs : Date.parse(end));
  return (
    <span className="wait-of" style={place(fromMs, toMs, props.scale)} title={`${title}: ${outcome}`}>
      <span className="unseen">
        Approval {title}: {outcome}
      </span>
    </span>
  );
}

/** The text to the right of the bar: duration, progress, pending approval, message or error. */
function Note(props: Props) {
  const { stage, approvals, endedAt, scale } = props;
  const times = timesOf(props);
  if (!times) return null;
  const waited = approvals?.find(({ status }) => status === 'pending');
  const left = Math.max(
    xOf(times.toMs, scale),
    waited ? xOf(props.nowMs, scale) : 0,
    xOf(times.fromMs, scale) + MIN_BAR_PX,
  );
  const duration = formatDuration(stage.durationMs ?? times.toMs - times.fromMs);
  const isRunning = stage.status === 'running';
  const message = stage.error?.message ?? (isRunning ? stage.message : undefined);
  return (
    <span className="note" style={{ left }}>
      {duration}
      {isRunning && stage.progress > 0 && <span className="share"> · {formatPercent(stage.progress)}</span>}
      {waited && endedAt === undefined && <span className="waiting"> · waiting: {waited.title}</span>}
      {message !== undefined && <span className={stage.error ? 'failed' : 'message'}> · {message}</span>}
    </span>
  );
}
