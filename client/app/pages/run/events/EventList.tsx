import { Fragment, type RefObject, useCallback, useEffect, useState } from 'react';
import type { RunEvent, RunView, Stage } from '../../../../hooks/index.ts';
import { useIsPast } from '../../../components/Past.tsx';
import { useKeys } from '../../../hooks/useKeys.tsx';
import { useListFocus } from '../../../hooks/useListFocus.ts';
import { useSetting } from '../../../hooks/useSetting.ts';
import { copyText } from '../../../lib/copy.ts';
import { formatCount, zoneAt } from '../../../lib/format.ts';
import { hrefWith, ParamLink, setParams } from '../../../lib/navigation.tsx';
import { StageNames } from '../stage-names.ts';
import { DayRow, EventDetails, EventRow, ProgressRow } from './EventRow.tsx';
import { type ListedFilter, noFilter } from './event-filter.ts';
import type { Segment } from './event-pages.ts';
import type { EventRows, Row } from './event-rows.ts';
import { type ListedEvents, liveEvent } from './useEventRows.ts';
import { type Following, useFollowing } from './useFollowing.ts';
import { DETAILS_PX, type ListBox, useListBox, useScrollToLinked } from './useListBox.ts';

/** Events of so many rows before and after the rendered ones are fetched too. */
const FETCHED_ROWS = 80;

type Props = { run: RunView; listed: ListedEvents; filter: ListedFilter; linked: number | undefined };

export function EventList(props: Props) {
  const { listed, filter, linked } = props;
  const { rows, pages, live, end } = listed;
  const following = useFollowing(rows.foundUpTo(end), linked !== undefined);
  const { isFollowing } = following;
  const count = rows.countUpTo(end);
  const [opened, setOpened] = useState<number | undefined>(undefined);
  // The event that the page was opened at is open, so that its whole text can be read.
  const [wasLinked, setWasLinked] = useState(false);
  if (linked !== undefined && !wasLinked) {
    setWasLinked(true);
    setOpened(linked);
  }
  const box = useListBox(rows, count, opened === undefined ? -1 : rows.rowOf(opened), following);
  const { scroller, shown, keepPlace } = box;
  useScrollToLinked(rows, linked, box, following);
  useEffect(() => {
    if (!isFollowing) rows.wantAll();
  }, [rows, isFollowing]);
  useEffect(() => {
    pages.put(live);
    pages.want(segmentsOf(rows, shown, count));
  });
  const startMs = Date.parse(props.run.startedAt ?? props.run.createdAt);
  return (
    <div className="feed-box">
      <Before rows={rows} isActive={filter.isActive} />
      <div className="feed-top">
        <Head startMs={startMs} isRelative={filter.isRelative} />
        <LatestButton following={following} end={end} isLinked={linked !== undefined} scroller={scroller} />
      </div>
      <div
        className="feed"
        ref={scroller}
        role="log"
        aria-live="off"
        aria-label="Events"
        tabIndex={-1}
        onScroll={(event) => {
          keepPlace();
          following.onScroll(event);
        }}
      >
        {count > 0 && (
          <Rows {...props} box={box} count={count} following={following} opened={opened} onOpen={setOpened} />
        )}
        {count === 0 && rows.isComplete && <Empty isActive={filter.isActive} />}
      </div>
    </div>
  );
}

type RowsProps = Props & {
  box: ListBox;
  count: number;
  following: Following;
  /** The event with open details. */
  opened: number | undefined;
  onOpen: (runSeq: number | undefined) => void;
};

function Rows({ run, listed, filter, linked, box, count, following, opened, onOpen }: RowsProps) {
  const { rows, pages, live } = listed;
  const { list, topOf, rowPx, totalPx, shown } = box;
  const { pause } = following;
  // The same functions at each render: new functions would make React render all rows for each event of the run.
  const toggle = useCallback(
    (runSeq: number | undefined) => {
      onOpen(runSeq);
      if (runSeq !== undefined) pause();
    },
    [onOpen, pause],
  );
  const unfold = useCallback(
    (runSeq: number) => {
      pause();
      rows.toggle(runSeq);
    },
    [rows, pause],
  );
  const open = (index: number) => {
    const row = rows.at(index);
    if (row?.kind === 'event') toggle(row.runSeq === opened ? undefined : row.runSeq);
    else if (row?.kind === 'progress') unfold(row.runSeq);
  };
  const {
    listProps,
    rowProps,
    rows: rendered,
    activeIndex,
  } = useListFocus<HTMLOListElement>({
    name: 'events',
    count,
    keyOf: (index) => keyOf(rows.at(index)),
    indexOf: (key) => rows.rowOf(Number(key.slice(1))),
    open,
    reveal: box.reveal,
  });
  useLinkKey(rows.at(activeIndex));
  const focusRef = listProps.ref;
  const ref = useCallback(
    (element: HTMLOListElement | null) => {
      list.current = element;
      return focusRef(element);
    },
    [list, focusRef],
  );
  const nameOf = useStageNames(run.stages);
  const eventOf = (runSeq: number) => liveEvent(live, runSeq) ?? pages.get(runSeq);
  const sinceMs = filter.isRelative ? Date.parse(run.startedAt ?? run.createdAt) : undefined;
  // A focus by keyboard stops following: otherwise the row would scroll out of view. At the press of a pointer, the button for
  // the latest event would appear, perhaps below the pointer.
  const onFocus = (event: Parameters<typeof listProps.onFocus>[0]) => {
    if (event.target.matches(':focus-visible')) pause();
    listProps.onFocus(event);
  };
  return (
    <ol {...listProps} ref={ref} style={{ height: totalPx }} onFocus={onFocus}>
      {rendered(shown).map((index) => {
        const row = rows.at(index);
        if (!row) return null;
        const place = { ...rowProps(index), topPx: topOf(index) };
        if (row.kind === 'day') return <DayRow key={keyOf(row)} {...place} at={row.at} />;
        const shared = { ...place, sinceMs, isEarlier: isEarlier(rows, index, eventOf) };
        if (row.kind === 'progress') {
          const { stretch, runSeq, isOpen } = row;
          const stageName = nameOf(stretch.stageId);
          const props = { runSeq, stretch, isOpen, stageName, onToggle: unfold };
          return <ProgressRow key={keyOf(row)} {...shared} {...props} />;
        }
        const { runSeq } = row;
        const event = eventOf(runSeq);
        const isOpen = runSeq === opened;
        const details = <EventDetails event={event} topPx={topOf(index) + rowPx} heightPx={DETAILS_PX} />;
        // A fragment with a key: React knows an array without one by its place, which changes when the list scrolls.
        return (
          <Fragment key={keyOf(row)}>
            <EventRow
              {...shared}
              runSeq={runSeq}
              event={event}
              isRemoved={pages.isRemoved(runSeq)}
              stageName={filter.stageId === undefined ? stageOf(event, nameOf) : undefined}
              isMarked={runSeq === linked}
              isOpen={isOpen}
              onToggle={toggle}
            />
            {isOpen && details}
          </Fragment>
        );
      })}
    </ol>
  );
}

/** Key of a row: one letter, and the position of its first event. */
const keyOf = (row: Row | undefined): string => (row ? `${row.kind.charAt(0)}${row.runSeq}` : '');

/** The zone of the times, in the head of their column. */
function Head({ startMs, isRelative }: { startMs: number; isRelative: boolean }) {
  const isUtc = useSetting('times')[0] === 'utc';
  return (
    <div className="feed-head" aria-hidden="true">
      <span className="seq">#</span>
      <span className="time">{isRelative ? 'Since start' : zoneAt(startMs, isUtc)}</span>
      <span className="type">Type</span>
      <span>What</span>
    </div>
  );
}

/** Shown in place of the list. */
const Empty = ({ isActive }: { isActive: boolean }) => (
  <p className="edge" role="status">
    {isActive ? (
      <>
        No events match. <ParamLink params={noFilter}>Clear all filters</ParamLink>
      </>
    ) : (
      'No events are kept: retention has removed them.'
    )}
  </p>
);

/** What is before the list: events that are still looked for, and removed ones. */
function Before({ rows, isActive }: { rows: EventRows; isActive: boolean }) {
  if (!rows.isComplete) {
    return isActive ? <p className="missing">Looking through events before {formatCount(rows.low)}…</p> : null;
  }
  if (rows.oldest === 1) return null;
  const removed = rows.oldest - 1;
  return (
    <p className="missing">{removed === 1 ? 'Event 1' : `Events 1–${formatCount(removed)}`}: Removed by retention</p>
  );
}

type LatestButtonProps = {
  following: Following;
  end: number;
  isLinked: boolean;
  scroller: RefObject<HTMLDivElement | null>;
};

function LatestButton({ following, end, isLinked, scroller }: LatestButtonProps) {
  const isPast = useIsPast();
  const { isFollowing, newCount, resume } = following;
  if (isFollowing) return null;
  const follow = () => {
    if (isLinked) setParams({ event: undefined });
    resume();
    // The pressed button disappears at the next render, and with it the focus. So the focus moves to the list.
    scroller.current?.focus({ preventScroll: true });
  };
  const latest = isPast ? `Jump to event ${formatCount(end)}` : 'Jump to latest';
  return (
    <button type="button" className="new" onClick={follow}>
      {newCount > 0 && !isPast ? `${formatCount(newCount)} new ${newCount === 1 ? 'event' : 'events'}` : latest}
    </button>
  );
}

/** The key `l` copies the link to the event of the row that has or last had the focus. */
function useLinkKey(row: Row | undefined): void {
  const copy = () => {
    if (!row) return;
    const href = new URL(hrefWith({ event: String(row.runSeq) }), window.location.href).href;
    copyText(href, `Link to event ${formatCount(row.runSeq)} copied`);
  };
  useKeys(row ? { l: { does: 'Copy the link to the event', act: copy } } : {});
}

function useStageNames(stages: readonly Stage[]): (stageId: string) => string {
  const [names] = useState(() => new StageNames());
  return (stageId) => names.of(stages, stageId);
}

const stageOf = (event: RunEvent | undefined, nameOf: (stageId: string) => string) =>
  event && 'stageId' in event && typeof event.stageId === 'string' ? nameOf(event.stageId) : undefined;

/** True if the event of a row happened before that of the row above. */
function isEarlier(rows: EventRows, index: number, eventOf: (runSeq: number) => RunEvent | undefined): boolean {
  const timeOf = (row: Row | undefined, end: 'first' | 'last') => {
    if (row?.kind === 'progress') return row.stretch[row.isOpen ? 'first' : end].at;
    return row?.kind === 'event' ? Date.parse(eventOf(row.runSeq)?.timestamp ?? '') : Number.NaN;
  };
  const above = rows.at(index - 1);
  return timeOf(rows.at(index), 'first') < timeOf(above?.kind === 'day' ? rows.at(index - 2) : above, 'last');
}

/** Returns the positions of events to fetch: those of the rendered rows first, then those of rows near them. */
function segmentsOf(rows: EventRows, shown: { first: number; end: number }, count: number): Segment[] {
  const segments: number[][] = [];
  const add = (first: number, end: number) => {
    let before = -2;
    for (let index = first; index < end; index++) {
      const row = rows.at(index);
      if (row?.kind !== 'event') continue;
      const at = rows.indexOf(row.runSeq);
      if (at !== before + 1) segments.push([]);
      segments.at(-1)?.push(row.runSeq);
      before = at;
    }
  };
  add(shown.first, shown.end);
  add(shown.end, Math.min(count, shown.end + FETCHED_ROWS));
  add(Math.max(0, shown.first - FETCHED_ROWS), shown.first);
  return segments;
}
