import { type CSSProperties, type MouseEvent, useEffect, useMemo, useRef, useState } from 'react';
import type { RunView } from '../../../hooks/index.ts';
import { useIsPast } from '../../components/Past.tsx';
import { useListFocus } from '../../hooks/useListFocus.ts';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { useServerNow } from '../../hooks/useNow.ts';
import { useSetting } from '../../hooks/useSetting.ts';
import { useThrottled } from '../../hooks/useThrottled.ts';
import { rowsIn, useViewport } from '../../hooks/useViewport.ts';
import { setParams } from '../../lib/navigation.tsx';
import { approvalsByStage } from './axis.ts';
import { AxisHead, AxisLines } from './timeline/AxisHead.tsx';
import { Minimap } from './timeline/Minimap.tsx';
import { NameHead } from './timeline/NameHead.tsx';
import { ApprovalRow, GroupRow } from './timeline/OtherRows.tsx';
import { type Row, waitingStages } from './timeline/rows.ts';
import { StageRow } from './timeline/StageRow.tsx';
import { ticksOf } from './timeline/scale.ts';
import { TimelineHead } from './timeline/TimelineHead.tsx';
import { useTip } from './timeline/Tip.tsx';
import { useAxis } from './timeline/useAxis.ts';
import { useFollowRunning } from './timeline/useFollowRunning.ts';
import { useHair } from './timeline/useHair.ts';
import { useNameText } from './timeline/useNameText.ts';
import { useNameWidth } from './timeline/useNameWidth.ts';
import { MANY_STAGES, useRows, useSelected } from './timeline/useRows.ts';

const ROW_PX = 28;
const AXIS_PX = 30;
/** From this number of stages on, the last running stages are kept in view. */
const FOLLOWED_STAGES = 40;
/** A run with more stages changes here at most 4 times a second: each change passes all of its stages. */
const THROTTLED_STAGES = 500;
const EVERY_MS = 250;

/** The stages of a run on a common time axis, with each attempt and wait. The axis grows until the run has ended. */
export function Timeline({ run: latest }: { run: RunView }) {
  const run = useThrottled(latest, latest.stages.length > THROTTLED_STAGES ? EVERY_MS : 0);
  if (run.stages.length > 0 || run.approvals.some(({ stageId }) => stageId === undefined)) return <Stages run={run} />;
  return (
    <section aria-labelledby="stages" className="stages">
      <h2 id="stages">Stages</h2>
      <p className="none">{run.endedAt === undefined ? 'No stages yet' : 'No stages'}</p>
    </section>
  );
}

function Stages({ run }: { run: RunView }) {
  const scroller = useRef<HTMLElement>(null);
  const body = useRef<HTMLTableSectionElement>(null);
  const view = useViewport(body, { scroller });
  const isLive = run.endedAt === undefined;
  const nowMs = useServerNow(isLive);
  const isUtc = useSetting('times')[0] === 'utc';
  const list = useRows(run);
  const { rows, listed, indexOf } = list;
  const selected = useSelected();
  const selectedKey = `s ${selected.stageId}`;
  const [namePx, setNamePx] = useNameWidth(view.widthPx, useMedia(NARROW));
  const visiblePx = Math.max(0, view.widthPx - namePx);

  const range = rowsIn({ ...view, heightPx: view.heightPx + AXIS_PX }, rows.length, ROW_PX);
  const axis = useAxis({
    ...{ run, nowMs, visiblePx, scroller },
    inView: () => ({ rows: rows.slice(range.first, range.end), selected: rows[indexOf(selectedKey)] }),
  });
  const { scale, trackPx } = axis;
  const ticks = ticksOf(scale, view.leftPx, view.leftPx + 2 * Math.max(view.widthPx, 400), trackPx);
  const runningIndex = listed.lastRunning ? indexOf(`s ${listed.lastRunning.stageId}`) : -1;
  const isPast = useIsPast();
  const canFollow = isLive && !isPast && run.stages.length > FOLLOWED_STAGES && runningIndex >= 0;
  const follow = useFollowRunning(scroller, {
    ...{ rowIndex: runningIndex, rowPx: ROW_PX, headPx: AXIS_PX },
    isOn: canFollow && selected.stageId === null,
  });
  const grid = useGrid({ rows, indexOf, scroller, toggleGroup: list.toggleGroup, stopFollowing: follow.stop });
  useScrollToSelected(scroller, selected.stageId, indexOf);
  const textOf = useNameText({ rows, names: list.names, prefix: list.prefix, namePx });
  const { tip, tipProps } = useTip();
  const { hair, ...hairProps } = useHair(scale, namePx, axis.pointer, isUtc);

  // `--now` is the position of the line for the current time. Each row draws its part of it, above its bars and below its name.
  const bodyStyle = { height: rows.length * ROW_PX, '--now': `${scale.xOf(nowMs)}px` } as CSSProperties;
  const render = useRowRenderer({ run, rows, nowMs, namePx, isUtc, textOf, selected, ...axis });
  return (
    <section aria-labelledby="stages" className="stages">
      <TimelineHead
        {...{
          counts: listed.counts,
          listed: listed.stages.length,
          show: list.show,
          text: list.text,
          order: list.order,
        }}
        {...{ isGrouped: list.isGrouped, isFolded: axis.isFolded, isFitted: axis.isFitted }}
        {...{ zoomBy: axis.zoomBy, fit: axis.fit, onFollow: follow.toggle }}
        isFollowing={canFollow ? follow.isFollowing : undefined}
      />
      <div className="timeline-box">
        {run.stages.length >= MANY_STAGES && (
          <Minimap
            {...{ stages: listed.stages, scale: axis.whole, endMs: axis.span.endMs, scroller, visiblePx }}
            wholePx={axis.isFitted ? visiblePx : scale.widthPx}
          />
        )}
        <section className="timeline" ref={scroller} aria-label="Timeline" {...hairProps}>
          <div className="sheet" style={{ width: namePx + trackPx }} {...tipProps}>
            <AxisLines ticks={ticks} scale={scale} namePx={namePx} />
            <table role={list.isGrouped ? 'treegrid' : 'grid'} aria-rowcount={rows.length + 1} {...grid.listProps}>
              <caption className="unseen">Stages on a time axis, by {list.order}</caption>
              <thead>
                <tr>
                  <NameHead prefix={list.prefix} namePx={namePx} setNamePx={setNamePx} />
                  <AxisHead ticks={ticks} scale={scale} unfold={axis.unfold} zoomTo={axis.zoomTo} />
                </tr>
              </thead>
              <tbody ref={body} className={isLive ? 'going' : ''} style={bodyStyle} {...grid.bodyProps}>
                {grid.rows(range).map((index) => render(index, grid.tabIndexOf(index)))}
              </tbody>
            </table>
            <div className="hair" ref={hair} aria-hidden="true" hidden />
          </div>
          {rows.length === 0 && <p className="none empty">{list.text === '' ? 'No such stages' : 'No stages match'}</p>}
        </section>
      </div>
      {tip}
    </section>
  );
}

type RendererParts = Pick<ReturnType<typeof useAxis>, 'scale' | 'trackPx'> & {
  run: RunView;
  rows: readonly Row[];
  nowMs: number;
  namePx: number;
  isUtc: boolean;
  textOf: (index: number) => string;
  selected: ReturnType<typeof useSelected>;
};

/** Returns a function that renders the row at an index. */
function useRowRenderer({ run, rows, nowMs, textOf, selected, isUtc, ...shared }: RendererParts) {
  const { scale, trackPx, namePx } = shared;
  const byStage = useMemo(() => approvalsByStage(run.approvals), [run.approvals]);
  const waiting = useMemo(() => waitingStages(run.approvals), [run.approvals]);
  const endMs = useMemo(() => (run.endedAt === undefined ? undefined : Date.parse(run.endedAt)), [run.endedAt]);
  return (index: number, tabIndex: 0 | -1) => {
    const row = rows[index];
    if (!row) return null;
    const common = { scale, trackPx, namePx, topPx: index * ROW_PX, index, rowKey: row.key, tabIndex, endMs };
    if (row.kind === 'approval') {
      const isMoving = row.approval.status === 'pending' && endMs === undefined;
      return <ApprovalRow key={row.key} {...common} nowMs={isMoving ? nowMs : 0} approval={row.approval} />;
    }
    if (row.kind === 'group') {
      const { name, stages, isOpen } = row;
      return <GroupRow key={row.key} {...common} {...{ name, stages, isOpen, waiting, nowMs }} />;
    }
    const { stage, isInGroup } = row;
    const approvals = byStage.get(stage.stageId);
    const isMoving = stage.status === 'running' || waiting.has(stage.stageId);
    const isSelected = stage.stageId === selected.stageId;
    return (
      <StageRow
        key={row.key}
        {...{ ...common, stage, approvals, isInGroup, isSelected, isUtc }}
        nowMs={isMoving ? nowMs : 0}
        text={textOf(index)}
        selectedAttempt={isSelected ? selected.attempt : undefined}
      />
    );
  };
}

type GridParts = {
  rows: readonly Row[];
  indexOf: (key: string) => number;
  scroller: React.RefObject<HTMLElement | null>;
  toggleGroup: (name: string) => void;
  stopFollowing: () => void;
};

/** The focus, clicks and keys of the rows. */
function useGrid({ rows, indexOf, scroller, toggleGroup, stopFollowing }: GridParts) {
  const { stageId } = useSelected();
  const isPressed = useRef(false);
  const open = (index: number, attempt?: string) => {
    const row = rows[index];
    if (row?.kind === 'group') toggleGroup(row.name);
    if (row?.kind === 'approval') setParams({ tab: 'approvals' });
    if (row?.kind !== 'stage') return;
    const isOpen = row.stage.stageId === stageId && attempt === undefined;
    setParams({ stage: isOpen ? undefined : row.stage.stageId, attempt }, { push: !isOpen });
  };
  const focus = useListFocus<HTMLTableElement>({
    name: 'stages',
    count: rows.length,
    keyOf: (index) => rows[index]?.key ?? '',
    indexOf,
    open,
    reveal: (index) => {
      stopFollowing();
      if (scroller.current) reveal(scroller.current, index);
    },
    // With the panel open, the keys move the selection too. A press of the pointer selects by its click.
    onMove: (index) => {
      const row = rows[index];
      if (isPressed.current || stageId === null || row?.kind !== 'stage') return;
      setParams({ stage: row.stage.stageId, attempt: undefined });
    },
  });
  const onClick = ({ target }: MouseEvent) => {
    isPressed.current = false;
    const row = target instanceof Element ? target.closest<HTMLElement>('[data-index]') : null;
    const bar = target instanceof Element ? target.closest<HTMLElement>('[data-attempt]') : null;
    if (row) open(Number(row.dataset.index), bar?.dataset.attempt);
  };
  const onPointerDownCapture = () => {
    isPressed.current = true;
  };
  return {
    listProps: focus.listProps,
    bodyProps: { onClick, onPointerDownCapture },
    rows: focus.rows,
    tabIndexOf: (index: number) => focus.rowProps(index).tabIndex,
  };
}

/** Scrolls as little as possible. */
function reveal(box: HTMLElement, index: number): void {
  const top = index * ROW_PX;
  if (top < box.scrollTop) box.scrollTop = top;
  const bottom = top + ROW_PX + AXIS_PX - box.clientHeight;
  if (bottom > box.scrollTop) box.scrollTop = bottom;
}

/** Scrolls to the selected stage when the URL first contains it, but not at later changes of the list. */
function useScrollToSelected(
  scroller: React.RefObject<HTMLElement | null>,
  stageId: string | null,
  indexOf: (key: string) => number,
) {
  const [done] = useState<{ stageId: string | null }>({ stageId: null });
  useEffect(() => {
    if (done.stageId === stageId) return;
    const index = stageId === null ? -1 : indexOf(`s ${stageId}`);
    const box = scroller.current;
    if (stageId !== null && (index === -1 || !box)) return;
    done.stageId = stageId;
    if (!box || index === -1) return;
    const top = index * ROW_PX;
    const isInView = top >= box.scrollTop && top + ROW_PX + AXIS_PX <= box.scrollTop + box.clientHeight;
    if (!isInView) box.scrollTop = top - box.clientHeight / 3;
  }, [scroller, stageId, indexOf, done]);
}
