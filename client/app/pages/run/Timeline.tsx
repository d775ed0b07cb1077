import { type CSSProperties, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import type { RunView, Stage } from '../../../react/index.tsx';
import { useKeys } from '../../hooks/useKeys.ts';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { useNow } from '../../hooks/useNow.ts';
import { rowsIn, upTo, useViewport } from '../../hooks/useViewport.ts';
import { formatCount } from '../../lib/format.ts';
import { setParams, useParams } from '../../lib/navigation.tsx';
import { approvalsByStage, isTroubled, spanOf, ticksOf, tickText } from './axis.ts';
import { type Scale, StageRow } from './StageRow.tsx';

const ROW_PX = 30;
const AXIS_PX = 30;
const NAME_PX = 280;
const NARROW_NAME_PX = 136;
/** Left free at the right of what fits, for what is written beside the last bars. */
const MARGIN_PX = 220;
const NARROW_MARGIN_PX = 76;
const MIN_TRACK_PX = 80;
/** As wide as the letters of a mark are at most, with what is around them. */
const LETTER_PX = 10;
/** Browsers lay out no more than some 30 million px. */
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

/** One row a stage, its bar on a time axis that all share and that stretches while the run goes on. */
function Stages({ run }: { run: RunView }) {
  const params = useParams();
  const isNarrow = useMedia(NARROW);
  const scroller = useRef<HTMLElement>(null);
  const body = useRef<HTMLTableSectionElement>(null);
  const view = useViewport(body, { scroller });
  const isOver = run.endedAt !== undefined;
  const now = useNow(!isOver);

  const onlyErrors = params.get('show') === 'errors';
  const { stages } = run;
  const listed = useMemo(() => (onlyErrors ? stages.filter(isTroubled) : stages), [stages, onlyErrors]);
  const approvals = useMemo(() => approvalsByStage(run.approvals), [run.approvals]);

  const { startMs, endMs } = spanOf(run, now);
  const namePx = isNarrow ? NARROW_NAME_PX : NAME_PX;
  const marginPx = isNarrow ? NARROW_MARGIN_PX : MARGIN_PX;
  const fitPx = Math.max(MIN_TRACK_PX, view.widthPx - namePx - marginPx);
  const { zoom, zoomBy, fit, pxPerMs } = useZoom(scroller, { fitPx, namePx, spanMs: endMs - startMs });
  const trackPx = zoom === null ? view.widthPx - namePx : (endMs - startMs) * pxPerMs + marginPx;
  const scale = useMemo<Scale>(() => ({ startMs, pxPerMs }), [startMs, pxPerMs]);
  const { stepMs, ticks } = ticksOf(pxPerMs, view.leftPx, Math.min(trackPx, view.leftPx + 2 * view.widthPx));

  const toggleErrors = () => setParams({ show: onlyErrors ? undefined : 'errors' });
  useKeys({ e: toggleErrors, '+': () => zoomBy(2), '-': () => zoomBy(0.5), '0': fit });
  const selected = params.get('stage');
  useScrollTo(scroller, selected, listed);

  const shown = rowsIn({ ...view, heightPx: view.heightPx + AXIS_PX }, listed.length, ROW_PX);
  const { counts } = run;
  // Each row draws its part of the now-line: over its bars, and under its name.
  const bodyStyle = { height: listed.length * ROW_PX, '--now': `${(now - startMs) * pxPerMs}px` } as CSSProperties;
  return (
    <section aria-labelledby="stages" className="stages">
      <div className="section-title">
        <h2 id="stages">
          Stages{' '}
          <small>
            {formatCount(counts.stagesCompleted)} of {formatCount(counts.stages)} completed
            {counts.stagesFailed > 0 && `, ${formatCount(counts.stagesFailed)} failed`}
          </small>
        </h2>
        <span className="tools">
          <button type="button" className="chip" aria-pressed={onlyErrors} onClick={toggleErrors}>
            Errors only
          </button>
          <span className="zoom">
            <button type="button" aria-label="Zoom out" onClick={() => zoomBy(0.5)} disabled={zoom === null}>
              −
            </button>
            <button type="button" onClick={fit} aria-pressed={zoom === null}>
              Fit
            </button>
            <button type="button" aria-label="Zoom in" onClick={() => zoomBy(2)}>
              +
            </button>
          </span>
        </span>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard. */}
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
                  {ticks.map((ms) => {
                    const text = tickText(ms, stepMs);
                    const isCut = ms * pxPerMs + text.length * LETTER_PX > trackPx;
                    return isCut ? null : (
                      <span key={ms} aria-hidden="true" style={{ transform: `translateX(${ms * pxPerMs}px)` }}>
                        {text}
                      </span>
                    );
                  })}
                </th>
              </tr>
            </thead>
            <tbody ref={body} className={isOver ? '' : 'going'} style={bodyStyle}>
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
        {listed.length === 0 && <p className="none empty">No stage has failed.</p>}
      </section>
    </section>
  );
}

/** Px a ms, or null for what fits. While zoomed in, the scale stays what it is and the axis grows to the right. */
function useZoom(
  scroller: React.RefObject<HTMLElement | null>,
  { fitPx, namePx, spanMs }: { fitPx: number; namePx: number; spanMs: number },
) {
  const [zoom, setZoom] = useState<number | null>(null);
  const fitted = fitPx / spanMs;
  const pxPerMs = zoom ?? fitted;
  /** Ms from the start, and where it stood in the box: what is in the middle stays there. */
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

/** Shows the stage that the address names, when it comes to name it; later it stays where the reader puts it. */
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
