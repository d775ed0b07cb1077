import { memo, useCallback, useEffect, useMemo, useRef } from 'react';
import type { RunEvent, UseSearchReturn } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { decodedName } from '../../components/ProjectName.tsx';
import { Time } from '../../components/Time.tsx';
import { useKeys } from '../../hooks/useKeys.tsx';
import { useListFocus } from '../../hooks/useListFocus.ts';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { rowsIn, scrollToRow, useViewport } from '../../hooks/useViewport.ts';
import { Link, navigate, runPath } from '../../lib/navigation.tsx';
import { describe, toneOf } from '../run/describe.ts';
import { highlighter, otherHit, type Part } from './highlight.ts';

const ROW_PX = 56;
const NARROW_ROW_PX = 80;
/** The next page is fetched when fewer events than this are left below the visible rows. */
const AHEAD_EVENTS = 20;

type Props = Pick<UseSearchReturn, 'events' | 'runNameOf' | 'isPrevious'> & {
  text: string;
  isNextWanted: boolean;
  fetchNextPage: () => void;
  /** The focus moves from the search field to the first row. */
  isLeaving: boolean;
  onLeft: () => void;
};

/** The run as it is now, at the event. */
const eventHref = (event: RunEvent) => `${runPath(event)}?event=${event.runSeq}`;
/** The run as it was after the event. */
const thenHref = (event: RunEvent) => `${runPath(event)}?at=${event.runSeq}`;

export function Results(props: Props) {
  const { events, runNameOf, isPrevious, text, isNextWanted, fetchNextPage, isLeaving, onLeft } = props;
  const box = useRef<HTMLDivElement>(null);
  const isNarrow = useMedia(NARROW);
  const rowPx = isNarrow ? NARROW_ROW_PX : ROW_PX;
  const shown = rowsIn(useViewport(box), events.length, rowPx);
  const parts = useMemo(() => highlighter(text), [text]);
  const isEndNear = shown.end > events.length - AHEAD_EVENTS;
  useEffect(() => {
    if (isEndNear && isNextWanted) fetchNextPage();
  }, [isEndNear, isNextWanted, fetchNextPage]);
  const reveal = useCallback((index: number) => scrollToRow(box.current, index, rowPx), [rowPx]);
  const eventAt = (index: number) => events[index] as RunEvent;
  const focus = useListFocus<HTMLDivElement>({
    name: 'results',
    count: events.length,
    keyOf: (index) => String(eventAt(index).seq),
    open: (index) => navigate(eventHref(eventAt(index))),
    reveal,
  });
  const { activeIndex } = focus;
  // The search of the last key press may not have answered yet, and the reader may have gone elsewhere meanwhile.
  const isFirstWanted = isLeaving && !isPrevious && events.length > 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: `focus` is another object at each render.
  useEffect(() => {
    if (!isFirstWanted) return;
    if (document.activeElement?.closest('search')) focus.focus(0);
    onLeft();
  }, [isFirstWanted, onLeft]);
  useKeys({
    t: {
      does: 'See the run as it was at the event',
      act: () => activeIndex !== -1 && navigate(thenHref(eventAt(activeIndex))),
    },
  });
  return (
    // biome-ignore lint/a11y/useSemanticElements: a table would need columns.
    <div className="results" role="grid" aria-label="Events found" aria-busy={isPrevious} {...focus.listProps}>
      {/* biome-ignore lint/a11y/useSemanticElements: a table would need columns. */}
      <div ref={box} role="rowgroup" style={{ height: events.length * rowPx }}>
        {focus.rows(shown).map((index) => {
          const event = eventAt(index);
          return (
            <Result
              key={event.seq}
              event={event}
              index={index}
              topPx={index * rowPx}
              heightPx={rowPx}
              isNarrow={isNarrow}
              runName={runNameOf(event)}
              parts={parts}
              tabIndex={focus.rowProps(index).tabIndex}
            />
          );
        })}
      </div>
    </div>
  );
}

type ResultProps = {
  event: RunEvent;
  index: number;
  topPx: number;
  heightPx: number;
  isNarrow: boolean;
  runName: string;
  parts: (text: string) => Part[];
  tabIndex: 0 | -1;
};

const stageOf = (event: RunEvent) => ('stageId' in event ? event.stageId : undefined);

const Result = memo(function Result(props: ResultProps) {
  const { event, index, topPx, heightPx, isNarrow, runName, parts, tabIndex } = props;
  const { type, projectId } = event;
  const sentence = parts([stageOf(event), describe(event)].filter((part) => part).join(' · '));
  const other = sentence.some(({ isHit }) => isHit) ? undefined : otherHit(event, parts);
  return (
    // biome-ignore lint/a11y/useSemanticElements: a table would need columns.
    // biome-ignore lint/a11y/useKeyWithClickEvents: the list handles Enter.
    <div
      role="row"
      className="result"
      data-row={String(event.seq)}
      data-index={index}
      tabIndex={tabIndex}
      style={{ transform: `translateY(${topPx}px)`, height: heightPx }}
      onClick={({ target, defaultPrevented }) => {
        if (defaultPrevented || (target as Element).closest('a') || document.getSelection()?.isCollapsed === false)
          return;
        navigate(eventHref(event));
      }}
    >
      {/* biome-ignore lint/a11y/useSemanticElements lint/a11y/useFocusableInteractive: the row has the focus. */}
      <div role="gridcell" className="found">
        <span className="facts">
          <Time at={event.timestamp} form={isNarrow ? 'short' : 'full'} />
          <span className={`type${toneOf(event) === 'bad' ? ' bad' : ''}`} title={type}>
            {type.replace('.', ' ')}
          </span>
          <Link href={eventHref(event)} className="run">
            <Name>{decodedName(projectId)}</Name> / <Name>{runName}</Name>
          </Link>
        </span>
        <span className="sentence">
          <bdi dir="auto">
            <Marked parts={sentence} />
          </bdi>
          {other !== undefined && (
            <>
              {sentence.length > 0 && ' · '}
              <bdi dir="auto" className="soft">
                <Marked parts={parts(other)} />
              </bdi>
            </>
          )}
        </span>
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements lint/a11y/useFocusableInteractive: the row has the focus. */}
      <div role="gridcell" className="then">
        <Link href={thenHref(event)} title="See the run as it was at this event (t)">
          <span aria-hidden="true">⟲</span>
          <span className="unseen">See the run as it was at event {event.runSeq}</span>
        </Link>
      </div>
    </div>
  );
});

const Marked = ({ parts }: { parts: readonly Part[] }) => {
  let at = 0;
  return parts.map(({ text, isHit }) => {
    const key = at;
    at += text.length;
    return isHit ? <mark key={key}>{text}</mark> : <span key={key}>{text}</span>;
  });
};
