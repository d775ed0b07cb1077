import {
  Fragment,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import { type RunEvent, type RunView, trpc, useRunEvents } from '../../../react/index.tsx';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { rowsIn, upTo, useViewport } from '../../hooks/useViewport.ts';
import { formatCount } from '../../lib/format.ts';
import { ParamLink, setParams, useParams } from '../../lib/navigation.tsx';
import { EventJson, EventRow } from './EventRow.tsx';
import { EventPages } from './event-pages.ts';
import { StageNames } from './stage-names.ts';

const ROW_PX = 28;
const NARROW_ROW_PX = 48;
const JSON_PX = 240;
/** What is kept of the live events until it is among the pages. */
const LIVE_EVENTS = 500;
/** So close to the end counts as there. */
const END_PX = 16;

/** All events of a run, the latest at the bottom. It follows them until the reader scrolls away from the end. */
export function EventFeed({ run }: { run: RunView }) {
  const { projectId, runId } = run;
  const { events: live } = useRunEvents({ projectId, runId, limit: LIVE_EVENTS });
  const pages = usePages(projectId, runId);
  const total = Math.max(run.lastRunSeq, live.at(-1)?.runSeq ?? 0);

  const params = useParams();
  const asked = params.get('event');
  const place = /^\d{1,15}$/.test(asked ?? '') ? Number(asked) : 0;
  const isThere = place >= 1 && place <= total;
  const named = isThere ? place : undefined;
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const rowPx = useMedia(NARROW) ? NARROW_ROW_PX : ROW_PX;
  const [opened, setOpened] = useState<number | undefined>(undefined);
  const [isRelative, setIsRelative] = useState(false);
  /** Null while it follows; else how many there were when it was last at the end. */
  const [seen, setSeen] = useState<number | null>(named === undefined ? null : total);
  const isFollowing = seen === null;

  const view = useViewport(list, { scroller, isPaused: isFollowing });
  const openPx = opened === undefined ? 0 : JSON_PX;
  const topOf = (runSeq: number) => (runSeq - 1) * rowPx + (opened !== undefined && runSeq > opened ? JSON_PX : 0);
  const totalPx = total * rowPx + openPx;
  const shown = rowsIn(
    // While it follows, it stands at the end, wherever the box stood when it was last looked at.
    isFollowing ? { ...view, topPx: Math.max(0, totalPx - view.heightPx) } : { ...view, topPx: view.topPx - openPx },
    total,
    rowPx,
  );
  const [first, last] = [shown.first + 1, shown.end];
  useEffect(() => {
    pages.put(live);
    pages.want(first, last);
  }, [pages, live, first, last]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a longer list is what moves the end.
  useLayoutEffect(() => {
    if (isFollowing && scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  }, [isFollowing, totalPx, view.heightPx]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: it is scrolled to when it is named, and then left alone.
  useLayoutEffect(() => {
    const box = scroller.current;
    if (named === undefined || !box) return;
    const top = topOf(named);
    if (top < box.scrollTop || top + rowPx > box.scrollTop + box.clientHeight)
      box.scrollTop = top - box.clientHeight / 3;
    if (!isInPage(box, top - box.scrollTop, rowPx)) box.scrollIntoView({ block: 'nearest' });
    const isRead = list.current?.contains(document.activeElement);
    setSeen((before) => (distanceToEnd(box) < END_PX && !isRead ? null : (before ?? total)));
  }, [named]);
  const isMissing = asked !== null && !isThere;
  useEffect(() => {
    if (isMissing) scroller.current?.scrollIntoView({ block: 'nearest' });
  }, [isMissing]);

  const stood = useRef({ scrollTop: 0, scrollHeight: 0, clientHeight: 0 });
  const onScroll = ({ currentTarget: box }: React.UIEvent) => {
    const { scrollTop, scrollHeight, clientHeight } = box;
    const before = stood.current;
    stood.current = { scrollTop, scrollHeight, clientHeight };
    // A list that grows moves nothing up, and a box or a list that changes its size may: else it is the reader.
    const isResized = clientHeight !== before.clientHeight || scrollHeight < before.scrollHeight;
    const isUp = scrollTop < before.scrollTop;
    if (isUp && !isResized && distanceToEnd(box) > 1) setSeen((seen) => seen ?? total);
    else if (!isUp && distanceToEnd(box) < END_PX) setSeen(null);
  };
  const latest = useRef(total);
  useEffect(() => {
    latest.current = total;
  });
  // The same function for all rows, which else would be rendered at each event. What is read stays where it is.
  const toggle = useCallback((runSeq: number | undefined) => {
    setOpened(runSeq);
    if (runSeq !== undefined) setSeen((before) => before ?? latest.current);
  }, []);
  const follow = () => {
    if (asked !== null) setParams({ event: undefined });
    setSeen(null);
    // The button is about to go, and would take the focus along.
    scroller.current?.focus({ preventScroll: true });
  };
  const [names] = useState(() => new StageNames());
  const fresh = seen === null ? 0 : total - seen;
  const startMs = Date.parse(run.startedAt ?? run.createdAt);
  return (
    <section aria-labelledby="events" className="events">
      <div className="section-title">
        <h2 id="events">
          Events <small>{formatCount(total)}</small>
        </h2>
        <span className="tools">
          <button type="button" className="chip" aria-pressed={isRelative} onClick={() => setIsRelative(!isRelative)}>
            Time since the start
          </button>
        </span>
      </div>
      {isMissing && (
        <p className="missing" role="status">
          There is no event {place > 0 ? formatCount(place) : `“${asked}”`} in this run.{' '}
          <ParamLink params={{ event: undefined }}>Follow the latest</ParamLink>
        </p>
      )}
      <div className="feed-box">
        <div
          className="feed"
          ref={scroller}
          role="log"
          aria-live="off"
          aria-label="Events"
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
          tabIndex={0}
          onScroll={onScroll}
        >
          {/* What has the focus is not to leave the page from under it. */}
          <ol ref={list} style={{ height: totalPx }} onFocus={() => setSeen((before) => before ?? total)}>
            {upTo(shown).map((index) => {
              const runSeq = index + 1;
              const event = eventAt(live, runSeq) ?? pages.get(runSeq);
              const isOpen = runSeq === opened;
              return (
                <Fragment key={runSeq}>
                  <EventRow
                    runSeq={runSeq}
                    event={event}
                    isGone={pages.isGone(runSeq)}
                    stageName={
                      event && 'stageId' in event && event.stageId !== undefined
                        ? names.of(run.stages, event.stageId)
                        : undefined
                    }
                    sinceMs={isRelative ? startMs : undefined}
                    topPx={topOf(runSeq)}
                    isMarked={runSeq === named}
                    isOpen={isOpen}
                    onToggle={toggle}
                  />
                  {isOpen && <EventJson event={event} topPx={topOf(runSeq) + rowPx} heightPx={JSON_PX} />}
                </Fragment>
              );
            })}
          </ol>
        </div>
        {!isFollowing && (
          <button type="button" className="new" onClick={follow}>
            {fresh > 0 ? `${formatCount(fresh)} new` : 'To the latest'}
          </button>
        )}
      </div>
    </section>
  );
}

/** Whether a row of the box, so far from its top, can be seen without scrolling the page. */
function isInPage(box: Element, px: number, rowPx: number): boolean {
  const top = box.getBoundingClientRect().top + px;
  const header = document.querySelector('header')?.getBoundingClientRect().bottom ?? 0;
  return top >= header && top + rowPx <= window.innerHeight;
}

const distanceToEnd = ({ scrollHeight, scrollTop, clientHeight }: Element) => scrollHeight - scrollTop - clientHeight;

/** Of events that are in a row, but for gaps. */
function eventAt(live: readonly RunEvent[], runSeq: number): RunEvent | undefined {
  const event = live[runSeq - (live[0]?.runSeq ?? 0)];
  return event?.runSeq === runSeq ? event : undefined;
}

function usePages(projectId: string, runId: string): EventPages {
  const { client } = trpc.useUtils();
  const pages = useMemo(
    () =>
      new EventPages(async (fromRunSeq, limit) => {
        const { events } = await client.run.history.query({ projectId, runId, fromRunSeq, limit });
        return events;
      }),
    [client, projectId, runId],
  );
  useSyncExternalStore(pages.subscribe, pages.getVersion);
  return pages;
}
