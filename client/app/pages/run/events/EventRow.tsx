import { memo, useState } from 'react';
import type { ProgressStretch, RunEvent } from '../../../../hooks/index.ts';
import { Copy } from '../../../components/Copy.tsx';
import { Name } from '../../../components/Name.tsx';
import { Time } from '../../../components/Time.tsx';
import { useFromNow } from '../../../hooks/useNow.ts';
import { useSetting } from '../../../hooks/useSetting.ts';
import { formatCount, formatDay, formatDuration, formatPercent } from '../../../lib/format.ts';
import { ParamLink, setParams } from '../../../lib/navigation.tsx';
import { describe, fieldsOf, toneOf, wordOf } from '../describe.ts';

type RowProps = { 'data-row': string; 'data-index': number; tabIndex: 0 | -1; topPx: number };
type ListedProps = RowProps & {
  /** Start of relative times in Unix ms. If undefined, the row shows the time of day. */
  sinceMs: number | undefined;
  /** True if the event happened before that of the row above. */
  isEarlier: boolean;
};

type Props = ListedProps & {
  runSeq: number;
  /** Undefined until the event is fetched. */
  event: RunEvent | undefined;
  /** True when retention has removed the event. */
  isRemoved: boolean;
  stageName: string | undefined;
  isMarked: boolean;
  isOpen: boolean;
  onToggle: (runSeq: number | undefined) => void;
};

export const EventRow = memo(function EventRow(props: Props) {
  const { runSeq, event, isRemoved, stageName, sinceMs, isEarlier, topPx, isMarked, isOpen, onToggle, ...row } = props;
  const tone = event ? ` ${toneOf(event)}` : '';
  return (
    <li
      className={`event${tone}${isMarked ? ' marked' : ''}`}
      aria-setsize={-1}
      aria-posinset={runSeq}
      aria-current={isMarked || undefined}
      style={{ transform: `translateY(${topPx}px)` }}
      {...row}
    >
      <Seq runSeq={runSeq} />
      {event ? (
        <button type="button" aria-expanded={isOpen} onClick={() => onToggle(isOpen ? undefined : runSeq)}>
          <When at={Date.parse(event.timestamp)} sinceMs={sinceMs} isEarlier={isEarlier} />
          <span className="type" title={event.type}>
            {wordOf(event)}
          </span>
          <span className="what">
            {stageName !== undefined && (
              <span className="stage">
                <Name>{stageName}</Name>
              </span>
            )}
            <Name>{describe(event)}</Name>
          </span>
        </button>
      ) : (
        <span className="none">{isRemoved ? 'Removed by retention' : '…'}</span>
      )}
    </li>
  );
});

const Seq = ({ runSeq }: { runSeq: number }) => (
  <ParamLink className="seq" params={{ event: String(runSeq) }} title="Link to this event (l)">
    {formatCount(runSeq)}
  </ParamLink>
);

function When({ at, sinceMs, isEarlier }: { at: number; sinceMs: number | undefined; isEarlier: boolean }) {
  return (
    <span className="time">
      {isEarlier && (
        <span
          className="earlier"
          title="Happened earlier than the event above"
          role="img"
          aria-label="Happened earlier"
        >
          ⟲
        </span>
      )}
      {sinceMs === undefined ? <Time at={at} form="clock" /> : sinceStart(at, sinceMs)}
    </span>
  );
}

function sinceStart(at: number, sinceMs: number): string {
  const ms = at - sinceMs;
  return `${ms < 0 ? '−' : '+'}${formatDuration(Math.abs(ms))}`;
}

type ProgressProps = ListedProps & {
  /** Position of the first event. */
  runSeq: number;
  stretch: ProgressStretch;
  stageName: string;
  isOpen: boolean;
  onToggle: (runSeq: number) => void;
};

/** One row for a stretch of progress events. */
export const ProgressRow = memo(function ProgressRow(props: ProgressProps) {
  const { runSeq, stretch, stageName, sinceMs, isEarlier, topPx, isOpen, onToggle, ...row } = props;
  const { count, first, last } = stretch;
  return (
    <li
      className="event folded"
      aria-setsize={-1}
      aria-posinset={runSeq}
      style={{ transform: `translateY(${topPx}px)` }}
      {...row}
    >
      <Seq runSeq={runSeq} />
      <button type="button" aria-expanded={isOpen} onClick={() => onToggle(runSeq)}>
        <When at={isOpen ? first.at : last.at} sinceMs={sinceMs} isEarlier={isEarlier} />
        <span className="type" title="stage.progress">
          progress
        </span>
        <span className="what">
          <span className="stage">
            <Name>{stageName}</Name>
          </span>
          {formatCount(count)} progress events
          {first.percent !== undefined &&
            last.percent !== undefined &&
            ` · ${formatPercent(first.percent)} → ${formatPercent(last.percent)}`}
        </span>
      </button>
    </li>
  );
});

/** The day, between events of two days. */
export const DayRow = memo(function DayRow({ at, topPx, ...row }: RowProps & { at: number }) {
  const isUtc = useSetting('times')[0] === 'utc';
  const day = useFromNow((nowMs) => formatDay(at, isUtc, nowMs));
  return (
    <li className="day" style={{ transform: `translateY(${topPx}px)` }} {...row}>
      {day}
    </li>
  );
});

type DetailsProps = { event: RunEvent | undefined; topPx: number; heightPx: number };

/** The fields of a logged event, or its JSON. The height is fixed, because the positions of the rows below depend on it. */
export const EventDetails = memo(function EventDetails({ event, topPx, heightPx }: DetailsProps) {
  const [isJson, setIsJson] = useState(false);
  const json = event ? JSON.stringify(event, null, 2) : '…';
  return (
    <li className="details" style={{ transform: `translateY(${topPx}px)`, height: heightPx }}>
      <div className="details-head">
        {event && (
          <span className="soft">
            Event {formatCount(event.runSeq)} of the run, seq {formatCount(event.seq)} of the log
          </span>
        )}
        <span className="tools">
          <button type="button" className="chip" aria-pressed={!isJson} onClick={() => setIsJson(false)}>
            Fields
          </button>
          <button type="button" className="chip" aria-pressed={isJson} onClick={() => setIsJson(true)}>
            JSON
          </button>
          {event && (
            <button
              type="button"
              className="chip"
              onClick={() => setParams({ at: String(event.runSeq) }, { push: true })}
            >
              See the run at this event
            </button>
          )}
          <Copy text={json} what="the event as JSON" />
        </span>
      </div>
      {isJson ? (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling box must be reachable by keyboard.
        <pre tabIndex={0}>{json}</pre>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling box must be reachable by keyboard.
        <div className="fields" tabIndex={0}>
          <table>
            <tbody>
              {fieldsOf(event).map(([name, value]) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td>
                    <Name>{value}</Name>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </li>
  );
});
