import {
  Fragment,
  type RefObject,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import { type RunEvent, type RunView, type Stage, useRunEvents, useRunwire } from '../../../hooks/index.ts';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { rowsIn, upTo, useViewport } from '../../hooks/useViewport.ts';
import { formatCount } from '../../lib/format.ts';
import { ParamLink, setParams, useParams } from '../../lib/navigation.tsx';
import { EventJson, EventRow } from './EventRow.tsx';
import { EventPages } from './event-pages.ts';
import { StageNames } from './stage-names.ts';
import { type Following, isAtEnd, useFollowing } from './useFollowing.ts';

const ROW_PX = 28;
const NARROW_ROW_PX = 48;
const JSON_PX = 240;
/** Number of events kept from the subscription. Older events are fetched in pages (`event-pages.ts`). */
const LIVE_EVENTS = 500;

/** All events of a run, the latest at the bottom. */
export function EventFeed({ run }: { run: RunView }) {
  const { projectId, runId } = run;
  const { events: live } = useRunEvents({ projectId, runId, limit: LIVE_EVENTS });
  const pages = usePages(projectId, runId);
  const total = Math.max(run.lastRunSeq, live.at(-1)?.runSeq ?? 0);
  const { requested, linked, isMissing } = useLinkedEvent(total);
  const following = useFollowing(total, linked !== undefined);
  const { isFollowing, newCount, pause } = following;

  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const rowPx = useMedia(NARROW) ? NARROW_ROW_PX : ROW_PX;
  const [opened, setOpened] = useState<number | undefined>(undefined);
  const [isRelative, setIsRelative] = useState(false);

  const view = useViewport(list, { scroller, isPaused: isFollowing });
  const openPx = opened === undefined ? 0 : JSON_PX;
  const topOf = (runSeq: number) => (runSeq - 1) * rowPx + (opened !== undefined && runSeq > opened ? JSON_PX : 0);
  const totalPx = total * rowPx + openPx;
  // While the list follows the latest event, its end is visible. The measured position is then not up to date.
  const topPx = isFollowing ? Math.max(0, totalPx - view.heightPx) : view.topPx - openPx;
  const shown = rowsIn({ ...view, topPx }, total, rowPx);
  const [first, last] = [shown.first + 1, shown.end];
  useEffect(() => {
    pages.put(live);
    pages.want(first, last);
  }, [pages, live, first, last]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a longer list or a resized box moves the end.
  useLayoutEffect(() => {
    if (isFollowing && scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  }, [isFollowing, totalPx, view.heightPx]);
  useScrollToLinked({ scroller, list }, linked, { topOf, rowPx }, following);

  // The same function at each render: a new function would make React render all rows for each event of the run.
  const toggle = useCallback(
    (runSeq: number | undefined) => {
      setOpened(runSeq);
      if (runSeq !== undefined) pause();
    },
    [pause],
  );
  const follow = () => {
    if (requested !== null) setParams({ event: undefined });
    following.resume();
    // The pressed button disappears at the next render, and with it the focus. So the focus moves to the list.
    scroller.current?.focus({ preventScroll: true });
  };
  const stageNameOf = useStageNames(run.stages);
  const startMs = Date.parse(run.startedAt ?? run.createdAt);
  return (
    <section aria-labelledby="events" className="events">
      <FeedTitle total={total} isRelative={isRelative} onToggle={() => setIsRelative(!isRelative)} />
      {isMissing && requested !== null && <MissingEvent requested={requested} scroller={scroller} />}
      <div className="feed-box">
        <div
          className="feed"
          ref={scroller}
          role="log"
          aria-live="off"
          aria-label="Events"
          // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling box must be reachable by keyboard.
          tabIndex={0}
          onScroll={following.onScroll}
        >
          {/* A focus in a row stops following: otherwise the row would scroll out and be removed with the focus. */}
          <ol ref={list} style={{ height: totalPx }} onFocus={pause}>
            {upTo(shown).map((index) => {
              const runSeq = index + 1;
              const event = eventAt(live, runSeq) ?? pages.get(runSeq);
              const isOpen = runSeq === opened;
              return (
                <Fragment key={runSeq}>
                  <EventRow
                    runSeq={runSeq}
                    event={event}
                    isRemoved={pages.isRemoved(runSeq)}
                    stageName={stageNameOf(event)}
                    sinceMs={isRelative ? startMs : undefined}
                    topPx={topOf(runSeq)}
                    isMarked={runSeq === linked}
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
            {newCount > 0 ? `${formatCount(newCount)} new ${newCount === 1 ? 'event' : 'events'}` : 'Jump to latest'}
          </button>
        )}
      </div>
    </section>
  );
}

function useStageNames(stages: readonly Stage[]) {
  const [names] = useState(() => new StageNames());
  return (event: RunEvent | undefined) =>
    event && 'stageId' in event && event.stageId !== undefined ? names.of(stages, event.stageId) : undefined;
}

type TitleProps = { total: number; isRelative: boolean; onToggle(): void };

const FeedTitle = ({ total, isRelative, onToggle }: TitleProps) => (
  <div className="section-title">
    <h2 id="events">
      Events <small>{formatCount(total)}</small>
    </h2>
    <span className="tools">
      <button type="button" className="chip" aria-pressed={isRelative} onClick={onToggle}>
        Relative times
      </button>
    </span>
  </div>
);

/**
 * `requested` is the query parameter `event` of the URL. `linked` is the same as a number, a `runSeq` (position in the
 * run); undefined if the run has no such event.
 */
function useLinkedEvent(total: number) {
  const requested = useParams().get('event');
  const runSeq = runSeqOf(requested);
  const isThere = runSeq >= 1 && runSeq <= total;
  return { requested, linked: isThere ? runSeq : undefined, isMissing: requested !== null && !isThere };
}

/** Returns 0 for a text that is not a position. */
const runSeqOf = (text: string | null): number => (text !== null && /^\d{1,15}$/.test(text) ? Number(text) : 0);

function MissingEvent({ requested, scroller }: { requested: string; scroller: Boxes['scroller'] }) {
  useEffect(() => {
    scroller.current?.scrollIntoView({ block: 'nearest' });
  }, [scroller]);
  const runSeq = runSeqOf(requested);
  return (
    <p className="missing" role="status">
      There is no event {runSeq > 0 ? formatCount(runSeq) : `“${requested}”`} in this run.{' '}
      <ParamLink params={{ event: undefined }}>Jump to latest</ParamLink>
    </p>
  );
}

type Boxes = { scroller: RefObject<HTMLElement | null>; list: RefObject<HTMLElement | null> };
type Rows = { topOf(runSeq: number): number; rowPx: number };

/** Scrolls to the linked event when a link to the event is opened, but not at later changes of the list. */
function useScrollToLinked(
  { scroller, list }: Boxes,
  linked: number | undefined,
  { topOf, rowPx }: Rows,
  { pause, resume }: Following,
): void {
  // biome-ignore lint/correctness/useExhaustiveDependencies: later changes must not scroll away from the user's position.
  useLayoutEffect(() => {
    const box = scroller.current;
    if (linked === undefined || !box) return;
    const top = topOf(linked);
    if (top < box.scrollTop || top + rowPx > box.scrollTop + box.clientHeight)
      box.scrollTop = top - box.clientHeight / 3;
    if (!isInPage(box, top - box.scrollTop, rowPx)) box.scrollIntoView({ block: 'nearest' });
    const hasFocus = list.current?.contains(document.activeElement);
    if (isAtEnd(box) && !hasFocus) resume();
    else pause();
  }, [linked]);
}

/** Returns whether a row, `px` below the top of the box, is visible without scrolling the page. */
function isInPage(box: Element, px: number, rowPx: number): boolean {
  const top = box.getBoundingClientRect().top + px;
  const header = document.querySelector('header')?.getBoundingClientRect().bottom ?? 0;
  return top >= header && top + rowPx <= window.innerHeight;
}

/** Returns the event at the position `runSeq`, if `live` has it. Live events are contiguous, except after a gap. */
function eventAt(live: readonly RunEvent[], runSeq: number): RunEvent | undefined {
  const event = live[runSeq - (live[0]?.runSeq ?? 0)];
  return event?.runSeq === runSeq ? event : undefined;
}

function usePages(projectId: string, runId: string): EventPages {
  const { client } = useRunwire();
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
