import { memo } from 'react';
import type { RunEvent } from '../../../hooks/index.ts';
import { Copy } from '../../components/Copy.tsx';
import { formatClock, formatCount, formatDateTime, formatDuration } from '../../lib/format.ts';
import { ParamLink } from '../../lib/navigation.tsx';
import { describe, isFailure } from './describe.ts';

type Props = {
  runSeq: number;
  /** Undefined until the event is fetched. */
  event: RunEvent | undefined;
  /** True when retention has removed the event. */
  isRemoved: boolean;
  stageName: string | undefined;
  /** Start of relative times in Unix ms. If undefined, the row shows the time of day. */
  sinceMs: number | undefined;
  topPx: number;
  isMarked: boolean;
  isOpen: boolean;
  onToggle: (runSeq: number | undefined) => void;
};

export const EventRow = memo(function EventRow(props: Props) {
  const { runSeq, event, isRemoved, stageName, sinceMs, topPx, isMarked, isOpen, onToggle } = props;
  const tone = event && isFailure(event) ? ' bad' : '';
  return (
    <li
      className={`event${tone}${isMarked ? ' marked' : ''}`}
      aria-setsize={-1}
      aria-posinset={runSeq}
      aria-current={isMarked || undefined}
      style={{ transform: `translateY(${topPx}px)` }}
    >
      <ParamLink className="seq" params={{ event: String(runSeq) }} title="Link to this event">
        {formatCount(runSeq)}
      </ParamLink>
      {event ? (
        <button type="button" aria-expanded={isOpen} onClick={() => onToggle(isOpen ? undefined : runSeq)}>
          <time dateTime={event.timestamp} title={formatDateTime(event.timestamp)}>
            {sinceMs === undefined ? formatClock(event.timestamp) : sinceStart(event.timestamp, sinceMs)}
          </time>
          <span className="type">{event.type}</span>
          <span className="what">{describe(event, stageName)}</span>
        </button>
      ) : (
        <span className="none">{isRemoved ? 'Removed by retention' : '…'}</span>
      )}
    </li>
  );
});

function sinceStart(instant: string, sinceMs: number): string {
  const ms = Date.parse(instant) - sinceMs;
  return `${ms < 0 ? '−' : '+'}${formatDuration(Math.abs(ms))}`;
}

type JsonProps = { event: RunEvent | undefined; topPx: number; heightPx: number };

/** A logged event as JSON. The height is fixed, because the positions of the rows below depend on it. */
export const EventJson = memo(function EventJson({ event, topPx, heightPx }: JsonProps) {
  const json = event ? JSON.stringify(event, null, 2) : '…';
  return (
    <li className="json" style={{ transform: `translateY(${topPx}px)`, height: heightPx }}>
      {event && (
        <p className="soft">
          Event {formatCount(event.runSeq)} of the run, seq {formatCount(event.seq)} of the log
        </p>
      )}
      <Copy text={json} what="the event as JSON" />
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling box must be reachable by keyboard. */}
      <pre tabIndex={0}>{json}</pre>
    </li>
  );
});
