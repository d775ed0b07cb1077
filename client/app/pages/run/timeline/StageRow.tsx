import { memo } from 'react';
import type { Approval, Stage } from '../../../../hooks/index.ts';
import { Status, toneOf } from '../../../components/Status.tsx';
import { formatCount, formatDuration, formatEventClock, formatPercent } from '../../../lib/format.ts';
import { shownOutcome, shownStatus } from '../axis.ts';
import type { Scale } from './scale.ts';
import { type Attempt, timesOf, waitOf } from './times.ts';

/** Minimum width of a bar. A narrower bar would be invisible. */
const MIN_BAR_PX = 3;
/** Width of a bar that has room for the mark of a failure. */
const MARK_PX = 14;
/** A message with less room is put on the left of its bar, if that is the only one of the row and it has the room. */
const MESSAGE_PX = 150;
/** Room for the duration. */
const DURATION_PX = 72;

export type RowProps = {
  scale: Scale;
  /** Unix ms. 0 for a row that does not change with time: the row is then not rendered each second. */
  nowMs: number;
  /** Width of the track: notes end there. */
  trackPx: number;
  namePx: number;
  topPx: number;
  index: number;
  rowKey: string;
  tabIndex: 0 | -1;
};

type Props = RowProps & {
  stage: Stage;
  approvals: readonly Approval[] | undefined;
  /** End of the run, if it has ended. */
  endMs: number | undefined;
  /** The name, cut to its column. */
  text: string;
  isInGroup: boolean;
  isSelected: boolean;
  selectedAttempt: number | undefined;
  isUtc: boolean;
};

const place = (fromMs: number, toMs: number, scale: Scale) => {
  const left = scale.xOf(fromMs);
  return { left, width: Math.max(MIN_BAR_PX, scale.xOf(toMs) - left) };
};

export const StageRow = memo(function StageRow(props: Props) {
  const { stage, approvals, endMs, index, topPx, isSelected, text, isInGroup } = props;
  const { stageId, name, attempt } = stage;
  const shown = shownStatus(stage, endMs !== undefined);
  return (
    <tr
      className={`stage-row${isSelected ? ' selected' : ''}`}
      aria-rowindex={index + 2}
      aria-selected={isSelected}
      aria-current={isSelected || undefined}
      style={{ transform: `translateY(${topPx}px)` }}
      tabIndex={props.tabIndex}
      data-row={props.rowKey}
      data-index={index}
    >
      <th scope="row" className={`stage-name${isInGroup ? ' inner' : ''}`} style={{ width: props.namePx }}>
        <Status value={shown} />
        <bdi className="name" dir="auto" title={name === stageId ? name : `${name} (${stageId})`}>
          {text === name ? (
            name
          ) : (
            <>
              <span className="unseen">{name}</span>
              <span aria-hidden="true">{text}</span>
            </>
          )}
        </bdi>
        {attempt > 1 && (
          <span className="attempt" title={`Attempt ${attempt}`}>
            <span aria-hidden="true">×{attempt}</span>
            <span className="unseen">attempt {attempt}</span>
          </span>
        )}
      </th>
      <td className="track">
        <Bars {...props} tone={toneOf(shown)} />
        {approvals?.map((approval) => (
          <WaitStrip key={approval.approvalId} {...props} approval={approval} />
        ))}
        <Note {...props} />
      </td>
    </tr>
  );
});

/** A bar for each attempt, and a line for each wait between two. */
function Bars(props: Props & { tone: string }) {
  const { stage, scale, nowMs, endMs, tone, selectedAttempt } = props;
  const { attempts } = timesOf(stage);
  const lastMs = endMs ?? nowMs;
  return attempts.map((one, index) => {
    const toMs = Math.max(one.fromMs, one.toMs ?? lastMs);
    const next = attempts[index + 1];
    const isLast = next === undefined;
    const isOpen = isLast && one.toMs === undefined;
    const at = place(one.fromMs, toMs, scale);
    // A retry will follow, or has followed.
    const retryMs = isLast ? (isOpen || stage.status !== 'running' ? undefined : lastMs) : next.fromMs;
    const isMarked = one.attempt === selectedAttempt;
    const kind = isLast && one.status !== 'failed' ? tone : one.status === 'failed' ? 'failed' : 'pending';
    return (
      <span key={one.attempt}>
        <span
          className={`bar-of ${kind}${isLast ? '' : ' earlier'}${isOpen ? ' open' : ''}${isMarked ? ' marked' : ''}`}
          style={at}
          data-attempt={one.attempt}
          data-tip={tipOf(one, toMs, props)}
        >
          {isLast && kind !== 'failed' && <span className="fill" style={{ width: `${stage.progress}%` }} />}
          {kind === 'failed' && at.width >= MARK_PX && (
            <span className="mark" aria-hidden="true">
              ✕
            </span>
          )}
        </span>
        {retryMs !== undefined && retryMs > toMs && (
          <span className="retry-of" style={{ ...place(toMs, retryMs, scale) }} data-tip="Waiting for a retry" />
        )}
      </span>
    );
  });
}

/** `Attempt 2 of 4 · failed 03:36:15.000 after 60.0 s · deadlock detected`. */
function tipOf(
  { attempt, status, fromMs, toMs, message }: Attempt,
  shownToMs: number,
  { stage, isUtc }: Props,
): string {
  const took = formatDuration(shownToMs - fromMs);
  const words =
    toMs === undefined
      ? `running for ${took}, since ${formatEventClock(fromMs, isUtc)}`
      : `${status === 'running' ? 'left' : status} ${formatEventClock(toMs, isUtc)} after ${took}`;
  const of = stage.attempt > 1 ? `Attempt ${formatCount(attempt)} of ${formatCount(stage.attempt)} · ` : '';
  return `${of}${words}${message === undefined ? '' : ` · ${message}`}`;
}

export function WaitStrip({
  approval,
  scale,
  nowMs,
  endMs,
}: RowProps & { approval: Approval; endMs: number | undefined }) {
  const { fromMs, toMs = endMs ?? nowMs } = waitOf(approval);
  const outcome = shownOutcome(approval.status);
  const at = place(fromMs, Math.max(fromMs, toMs), scale);
  return (
    <span className={`wait-of ${approval.status}`} style={at} data-tip={`Approval ${approval.title}: ${outcome}`}>
      <span className="unseen">
        Approval {approval.title}: {outcome}
      </span>
      {approval.status !== 'pending' && (
        <span className="end" aria-hidden="true">
          {approval.status === 'granted' ? '✓' : '✕'}
        </span>
      )}
    </span>
  );
}

/** Beside the bar: duration, share, pending approval, message or error. */
function Note(props: Props) {
  const { stage, approvals, endMs, nowMs, scale, trackPx } = props;
  const { attempts, fromMs, toMs } = timesOf(stage);
  if (attempts.length === 0) return null;
  const endedMs = Math.max(fromMs, toMs ?? endMs ?? nowMs);
  const waited = approvals?.find(({ status }) => status === 'pending');
  const right = Math.max(scale.xOf(endedMs), waited ? scale.xOf(nowMs) : 0, scale.xOf(fromMs) + MIN_BAR_PX);
  const left = scale.xOf(fromMs);
  const last = attempts.at(-1) as Attempt;
  const duration = formatDuration(stage.durationMs ?? Math.max(last.fromMs, last.toMs ?? endedMs) - last.fromMs);
  const isRunning = stage.status === 'running';
  const message = stage.error?.message ?? (isRunning ? stage.message : undefined);
  // Left of an earlier attempt, the note would seem to belong to something else.
  const neededPx = message === undefined ? DURATION_PX : MESSAGE_PX;
  const isLeft = attempts.length === 1 && trackPx - right < neededPx && left > neededPx;
  const style = isLeft ? { left: 0, width: left } : { left: right };
  return (
    <span className={isLeft ? 'note before' : 'note'} style={style}>
      {duration}
      {isRunning && stage.progress > 0 && <span className="share"> · {formatPercent(stage.progress)}</span>}
      {waited && endMs === undefined && <span className="waiting"> · waiting: {waited.title}</span>}
      {message !== undefined && <span className={stage.error ? 'failed' : 'message'}> · {message}</span>}
    </span>
  );
}
