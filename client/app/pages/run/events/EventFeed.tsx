import { useEffect, useRef, useState } from 'react';
import type { RunView } from '../../../../hooks/index.ts';
import { formatCount } from '../../../lib/format.ts';
import { ParamLink, setParams, useParams } from '../../../lib/navigation.tsx';
import { EventFilters } from './EventFilters.tsx';
import { EventList } from './EventList.tsx';
import { noFilter, useEventFilter } from './event-filter.ts';
import { type ListedEvents, useEventRows } from './useEventRows.ts';
import '../../../styles/pages/feed.css';

/** The events of a run that match the filter of the address, the latest at the bottom. */
export function EventFeed({ run }: { run: RunView }) {
  const filter = useEventFilter(run);
  const listed = useEventRows(run, filter);
  const { rows, end } = listed;
  const link = useLinkedEvent(listed);
  const section = useRef<HTMLElement>(null);
  const { isActive } = filter;
  useEffect(() => {
    if (isActive) rows.wantAll();
  }, [rows, isActive]);
  const found = rows.foundUpTo(end);
  // Another filter is another list: it begins at its end, and nothing is open.
  const rowsKey = useCount(rows);
  return (
    <section aria-labelledby="events" className="events" ref={section}>
      <EventFilters run={run} filter={filter} found={found} isComplete={rows.isComplete} total={end} />
      {link.isMissing && <MissingEvent requested={link.requested ?? ''} section={section} />}
      {link.isHidden && (
        <p className="missing" role="status">
          Event {formatCount(link.runSeq)}: Hidden by filter:{' '}
          <button type="button" className="link" onClick={() => setParams(noFilter)}>
            show
          </button>
        </p>
      )}
      {rows.problem !== undefined && (
        <p className="missing" role="alert">
          The events could not be listed: {rows.problem}{' '}
          <button type="button" className="link" onClick={rows.retry}>
            Try again
          </button>
        </p>
      )}
      <EventList key={rowsKey} run={run} listed={listed} filter={filter} linked={link.linked} />
    </section>
  );
}

/** Returns a number that changes with a value. */
function useCount(value: unknown): number {
  const [counted, setCounted] = useState({ value, count: 0 });
  if (counted.value !== value) setCounted({ value, count: counted.count + 1 });
  return counted.count;
}

/**
 * `requested` is the query parameter `event` of the URL. `runSeq` is the same as a number, a position in the run; 0 if it is
 * none. `linked`: the list has a row for it.
 */
function useLinkedEvent({ rows, end }: ListedEvents) {
  const requested = useParams().get('event');
  const runSeq = runSeqOf(requested);
  const isThere = runSeq >= 1 && runSeq <= end;
  // An event before the parts that were looked at is looked for.
  const isKnown = isThere && (runSeq >= rows.low || rows.isComplete) && rows.looked >= runSeq;
  useEffect(() => {
    if (isThere && !isKnown) rows.wantAll();
  }, [rows, isThere, isKnown]);
  const isListed = isKnown && rows.indexOf(runSeq) !== -1;
  return {
    requested,
    runSeq,
    linked: isListed ? runSeq : undefined,
    isHidden: isKnown && !isListed && runSeq >= rows.oldest,
    isMissing: requested !== null && (!isThere || (isKnown && runSeq < rows.oldest)),
  };
}

/** Returns 0 for a text that is not a position. */
const runSeqOf = (text: string | null): number => (text !== null && /^\d{1,15}$/.test(text) ? Number(text) : 0);

function MissingEvent({ requested, section }: { requested: string; section: { current: HTMLElement | null } }) {
  useEffect(() => {
    section.current?.scrollIntoView({ block: 'nearest' });
  }, [section]);
  const runSeq = runSeqOf(requested);
  return (
    <p className="missing" role="status">
      There is no event {runSeq > 0 ? formatCount(runSeq) : `“${requested}”`} in this run.{' '}
      <ParamLink params={{ event: undefined }}>Jump to latest</ParamLink>
    </p>
  );
}
