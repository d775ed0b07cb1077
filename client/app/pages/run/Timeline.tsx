import { type CSSProperties, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import type { RunView, Stage } from '../../../hooks/index.ts';
import { useKeys } from '../../hooks/useKeys.tsx';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { useServerNow } from '../../hooks/useNow.ts';
import { rowsIn, upTo, useViewport } from '../../hooks/useViewport.ts';
import { formatCount } from '../../lib/format.ts';
import { setParams, useParams } from '../../lib/navigation.tsx';
import { approvalsByStage, hasFailed, spanOf, ticksOf, tickText } from './axis.ts';
import { type Scale, StageRow } from './StageRow.tsx';

const ROW_PX = 30;
const AXIS_PX = 30;
const NAME_PX = 280;
const NARROW_NAME_PX = 136;
/** Free space at the right of the fitted axis, for the text beside the last bars. */
const MARGIN_PX = 220;
const NARROW_MARGIN_PX = 76;
const MIN_TRACK_PX = 80;
/** Maximum width of one letter in the text of a tick, including the letter's share of the padding. */
const LETTER_PX = 10;
/** Maximum width of the zoomed axis. Browsers cannot lay out elements of more than about 30 million px. */
const MAX_TRACK_PX = 8_000_000;

export const Timeline = ({ run }: { run: RunView }) =>
  run.stages.length > 0 ? (
    <Stages run={run} />
  ) : (
    <section aria-labelledby="stages" className="stages">
      <h2 id="stages">Stages</h2>
      <p className="none">{run.endedAt === undefined ? 'No stages yet' : 'No stages'}</p>
    </section>
  );

/** One row per stage: the stage's name, and its bar on a common time axis. The axis grows until the run has ended. */
function Stages({ run }: { run: RunView }) {
  const params = useParams();
  const isNarrow = useMedia(NARROW);
  const scroller = useRef<HTMLElement>(null);
  const body = useRef<HTMLTableSectionElement>(null);
  const view = useViewport(body, { scroller });
  const isRunning = run.endedAt === undefined;
  const now = useServerNow(isRunning);

  const onlyFailed = params.get('show') === 'errors';
  const { stages } = run;
  const listed = useMemo(() => (onlyFailed ? stages.filter(hasFailed) : stages), [stages, onlyFailed]);
  const approvals = useMemo(() => approvalsByStage(run.approvals), [run.approvals]);

  const { startMs, endMs } = spanOf(run, now);
  const namePx = isNarrow ? NARROW_NAME_PX : NAME_PX;
  const marginPx = isNarrow ? NARROW_MARGIN_PX : MARGIN_PX;
  const fitPx = Math.max(MIN_TRACK_PX, view.widthPx - namePx - marginPx);
  const { zoom, zoomBy, fit, pxPerMs } = useZoom(scroller, { fitPx, namePx, spanMs: endMs - startMs });
  const trackPx = zoom === null ? view.widthPx - namePx : (endMs - startMs) * pxPerMs + marginPx;
  const scale = useMemo<Scale>(() => ({ startMs, pxPerMs }), [startMs, pxPerMs]);
  const { stepMs, ticks } = ticksOf(pxPerMs, view.leftPx, Math.min(trackPx, view.leftPx + 2 * view.widthPx));

  const toggleFailed = () => setParams({ show: onlyFailed ? undefined : 'errors' });
  useKeys({
    e: { does: 'Show failed stages only, or all', act: toggleFailed },
    '+': { does: 'Zoom in, zoom out, fit', act: () => zoomBy(2) },
    '-': { does: 'Zoom in, zoom out, fit', act: () => zoomBy(0.5) },
    '0': { does: 'Zoom in, zoom out, fit', act: fit },
  });
  const selected = params.get('stage');
  useScrollTo(scroller, selected, listed);

  const shown = rowsIn({ ...view, heightPx: view.heightPx + AXIS_PX }, listed.length, ROW_PX);
  // `--now` is the position of the line for the current time. Each row draws its part of the line, above its bars and
  // below its name.
  const bodyStyle = { height: listed.length * ROW_PX, '--now': `${(now - startMs) * pxPerMs}px` } as CSSProperties;
  return (
    <section aria-labelledby="stages" className="stages">
      <div className="section-title">
        <Counts {...run.counts} />
        <span className="tools">
          <button type="button" className="chip" aria-pressed={onlyFailed} onClick={toggleFailed}>
            Failed only
          </button>
          <ZoomButtons isFitted={zoom === null} zoomBy={zoomBy} fit={fit} />
        </span>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling box must be reachable by keyboard. */}
      <section className="timeline" ref={scroller} tabIndex={0} aria-label="Timeline">
        <div className="sheet" style={{ width: namePx + trackPx }}>
          <div className="lines" aria-hidden="true" style={{ left: namePx }}>
            {ticks.map((ms) => (
              <span key={ms} style={{ transform: `translateX(${ms * pxPerMs}px)` }} />
            ))}
          </div>
          <table aria-rowcount={listed.length + 1}>
            <caption className="unseen">Stages on a time axis, in the order of the plan</caption>
            <thead>
              <tr>
                <th scope="col" className="corner" style={{ width: namePx }}>
                  Stage
                </th>
                <th scope="col" className="ticks">
                  <span className="unseen">Time since the start</span>
                  <Ticks ticks={ticks} stepMs={stepMs} pxPerMs={pxPerMs} trackPx={trackPx} />
                </th>
              </tr>
            </thead>
            <tbody ref={body} className={isRunning ? 'going' : ''} style={bodyStyle}>
              {upTo(shown).map((index) => {
                const stage = listed[index] as Stage;
                const waits = approvals.get(stage.stageId);
                const isMoving = stage.status === 'running' || waits?.some(({ status }) => status === 'pending');
                return (
                  <StageRow
                    key={stage.stageId}
                    stage={stage}
                    approvals={waits}
                    endedAt={run.endedAt}
                    nowMs={isMoving ? now : 0}
                    scale={scale}
                    namePx={namePx}
                    index={index}
                    topPx={index * ROW_PX}
                    isSelected={stage.stageId === selected}
                  />
                );
              })}
            </tbody>
          </table>
        </div>
        {listed.length === 0 && <p className="none empty">No failed stages</p>}
      </section>
    </section>
  );
}

const Counts = ({ stages, stagesCompleted, stagesFailed }: RunView['counts']) => (
  <h2 id="stages">
    Stages{' '}
    <small>
      {formatCount(stagesCompleted)} of {formatCount(stages)} completed
      {stagesFailed > 0 && `, ${formatCount(stagesFailed)} failed`}
    </small>
  </h2>
);

type ZoomProps = { isFitted: boolean; zoomBy(factor: number): void; fit(): void };

const ZoomButtons = ({ isFitted, zoomBy, fit }: ZoomProps) => (
  <span className="zoom">
    <button type="button" aria-label="Zoom out" onClick={() => zoomBy(0.5)} disabled={isFitted}>
      −
    </button>
    <button type="button" onClick={fit} aria-pressed={isFitted}>
      Fit
    </button>
    <button type="button" aria-label="Zoom in" onClick={() => zoomBy(2)}>
      +
    </button>
  </span>
);

type TicksProps = { ticks: readonly number[]; stepMs: number; pxPerMs: number; trackPx: number };

/** The texts of the ticks. A text that the end of the axis would cut is left out. */
const Ticks = ({ ticks, stepMs, pxPerMs, trackPx }: TicksProps) =>
  ticks.map((ms) => {
    const text = tickText(ms, stepMs);
    const isCut = ms * pxPerMs + text.length * LETTER_PX > trackPx;
    return isCut ? null : (
      <span key={ms} aria-hidden="true" style={{ transform: `translateX(${ms * pxPerMs}px)` }}>
        {text}
      </span>
    );
  });

/** `zoom` is in px per ms; null fits the run into the box. With a zoom, the scale is constant and the axis grows. */
function useZoom(
  scroller: React.RefObject<HTMLElement | null>,
  { fitPx, namePx, spanMs }: { fitPx: number; namePx: number; spanMs: number },
) {
  const [zoom, setZoom] = useState<number | null>(null);
  const fitted = fitPx / spanMs;
  const pxPerMs = zoom ?? fitted;
  /** The instant in the middle of the box: ms from the start of the axis, px from the left. Zooming keeps it there. */
  const held = useRef<{ ms: number; px: number } | undefined>(undefined);
  useLayoutEffect(() => {
    if (held.current && scroller.current) scroller.current.scrollLeft = held.current.ms * pxPerMs - held.current.px;
    held.current = undefined;
  }, [scroller, pxPerMs]);
  const zoomBy = (factor: number) => {
    const box = scroller.current;
    if (!box) return;
    const px = (box.clientWidth - namePx) / 2;
    held.current = { ms: (box.scrollLeft + px) / pxPerMs, px };
    const next = Math.min(pxPerMs * factor, MAX_TRACK_PX / spanMs, 1);
    setZoom(next <= fitted * 1.01 ? null : next);
  };
  return { zoom, zoomBy, fit: () => setZoom(null), pxPerMs };
}

/** Scrolls to the selected stage when the URL first contains it, but not at later changes of the list. */
function useScrollTo(scroller: React.RefObject<HTMLElement | null>, selected: string | null, listed: readonly Stage[]) {
  const done = useRef<string | null>(null);
  useEffect(() => {
    if (done.current === selected) return;
    const index = listed.findIndex(({ stageId }) => stageId === selected);
    const box = scroller.current;
    if (selected !== null && (index === -1 || !box)) return;
    done.current = selected;
    if (!box || index === -1) return;
    const top = index * ROW_PX;
    const isInView = top >= box.scrollTop && top + ROW_PX + AXIS_PX <= box.scrollTop + box.clientHeight;
    if (!isInView) box.scrollTop = top - box.clientHeight / 3;
  }, [scroller, selected, listed]);
}
