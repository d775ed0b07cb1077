import { type RefObject, useMemo, useState } from 'react';
import type { RunView } from '../../../../hooks/index.ts';
import { useParams } from '../../../lib/navigation.tsx';
import type { Row } from './rows.ts';
import { idleOf, Scale, spanOf } from './scale.ts';
import { timesOf } from './times.ts';
import { anchorOf, type Bar, useZoom } from './useZoom.ts';

/** Free space at the right of the fitted axis, for the text beside the last bars: a share of the width, and at most this. */
const MARGIN_SHARE = 0.12;
const MARGIN_PX = 220;
const MIN_TRACK_PX = 80;

type Options = {
  run: RunView;
  nowMs: number;
  /** Width of the visible track. */
  visiblePx: number;
  scroller: RefObject<HTMLElement | null>;
  /** The rendered rows, and the selected one. */
  inView: () => { rows: readonly (Row | undefined)[]; selected: Row | undefined };
};

/** The scale of the timeline: its span, folded stretches and zoom. */
export function useAxis({ run, nowMs, visiblePx, scroller, inView }: Options) {
  const isFolded = useParams().get('fold') !== '0';
  const [unfolded, setUnfolded] = useState<ReadonlySet<number>>(new Set());
  const span = useMemo(() => spanOf(run, nowMs), [run, nowMs]);
  const idle = useMemo(() => idleOf(run.stages, run.approvals, span), [run, span]);
  const folds = useMemo(
    () => (isFolded ? idle.filter(({ fromMs }) => !unfolded.has(fromMs)) : []),
    [idle, isFolded, unfolded],
  );
  const marginPx = Math.min(MARGIN_PX, visiblePx * MARGIN_SHARE);
  const fitPx = Math.max(MIN_TRACK_PX, visiblePx - marginPx);
  const barOf = (row: Row | undefined): Bar[] => {
    if (row?.kind !== 'stage') return [];
    return timesOf(row.stage).attempts.map(({ fromMs, toMs }) => ({ fromMs, toMs: toMs ?? span.endMs }));
  };
  const zoom = useZoom({
    ...{ scroller, span, folds, fitPx, trackPx: visiblePx },
    anchorAt: (scale, leftPx, px) => {
      const { rows, selected } = inView();
      const bars = rows.flatMap(barOf);
      return anchorOf({ selected: barOf(selected).at(-1), bars }, scale, { leftPx, px, trackPx: visiblePx });
    },
  });
  const whole = useMemo(() => Scale.fitting(span, folds, fitPx), [span, folds, fitPx]);
  return {
    ...zoom,
    span,
    folds,
    whole,
    /** Undefined where there is nothing to fold. */
    isFolded: idle.length > 0 ? isFolded : undefined,
    unfold: (fromMs: number) => setUnfolded(new Set(unfolded).add(fromMs)),
    trackPx: zoom.isFitted ? visiblePx : zoom.scale.widthPx + marginPx,
  };
}
