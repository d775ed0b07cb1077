import { useLayoutEffect, useRef } from 'react';
import type { RunEvent } from '../react.tsx';
import { formatClock, formatCount, formatPercent } from './format.ts';

/** Latest at the bottom. It follows the tail until the reader scrolls away from it. */
export function EventFeed({ events, names }: { events: readonly RunEvent[]; names: ReadonlyMap<string, string> }) {
  const box = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: new events are what moves the end.
  useLayoutEffect(() => {
    if (box.current && isAtEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [events]);
  return (
    <div
      className="feed"
      ref={box}
      role="log"
      aria-live="off"
      aria-label="Events"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
      tabIndex={0}
      onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
        isAtEnd.current = scrollHeight - scrollTop - clientHeight < 24;
      }}
    >
      <ol>
        {events.map((event) => (
          <li key={event.seq} className={/failed|denied/.test(event.type) ? 'bad' : undefined}>
            <span className="seq">{formatCount(event.seq)}</span>
            <time dateTime={event.timestamp}>{formatClock(event.timestamp)}</time>
            <span className="type">{event.type}</span>
            <span className="what">{describe(event, (stageId) => names.get(stageId) ?? stageId)}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}

/** What an event says beyond its type, in a line. */
function describe(event: RunEvent, nameOf: (stageId: string) => string): string {
  switch (event.type) {
    case 'run.created':
      return event.name;
    case 'run.started':
      return '';
    case 'run.completed':
      return event.summary ?? '';
    case 'run.failed':
      return withCode(event.error);
    case 'stage.started':
      return `${event.name ?? nameOf(event.stageId)}${attempt(event.attempt)}`;
    case 'stage.progress': {
      const { progress, done, total, message } = event;
      const amount =
        progress !== undefined
          ? formatPercent(progress)
          : done === undefined
            ? undefined
            : `${formatCount(done)}${total === undefined ? '' : ` of ${formatCount(total)}`}`;
      return [nameOf(event.stageId), amount, message].filter((part) => part !== undefined).join(' · ');
    }
    case 'stage.completed':
      return nameOf(event.stageId);
    case 'stage.failed':
      return `${nameOf(event.stageId)}${attempt(event.attempt)} · ${withCode(event.error)}${event.willRetry ? ' · will be tried again' : ''}`;
    case 'artifact.created':
      return event.name;
    case 'governance.required':
      return event.title;
    case 'approval.granted':
      return `by ${event.decidedBy}${event.comment === undefined ? '' : ` · ${event.comment}`}`;
    case 'approval.denied':
      return `by ${event.decidedBy} · ${event.reason}`;
  }
}

const attempt = (value: number | undefined) => (value === undefined || value === 1 ? '' : ` · attempt ${value}`);
const withCode = ({ message, code }: { message: string; code?: string | undefined }) =>
  code === undefined ? message : `${message} (${code})`;
