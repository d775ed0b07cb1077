import { type PointerEvent, useRef } from 'react';
import { formatDuration } from '../../../lib/format.ts';
import { FOLD_PX, type Idle, type Scale, type Tick } from './scale.ts';

type Props = {
  ticks: readonly Tick[];
  scale: Scale;
  unfold: (fromMs: number) => void;
  zoomTo: (fromMs: number, toMs: number) => void;
};

/** A shorter drag is a click. */
const MIN_DRAG_PX = 5;

/** The ticks, and the folded stretches. A drag over it zooms to a span. */
export function AxisHead({ ticks, scale, unfold, zoomTo }: Props) {
  const from = useRef<number | undefined>(undefined);
  const mark = useRef<HTMLSpanElement>(null);
  const xOf = (event: PointerEvent<HTMLElement>) => event.clientX - event.currentTarget.getBoundingClientRect().left;
  const onPointerMove = (event: PointerEvent<HTMLElement>) => {
    if (from.current === undefined || !mark.current) return;
    const x = xOf(event);
    mark.current.style.left = `${Math.min(from.current, x)}px`;
    mark.current.style.width = `${Math.abs(x - from.current)}px`;
  };
  const onPointerUp = (event: PointerEvent<HTMLElement>) => {
    const begun = from.current;
    from.current = undefined;
    if (mark.current) mark.current.style.width = '0';
    const x = xOf(event);
    if (begun === undefined || Math.abs(x - begun) < MIN_DRAG_PX) return;
    zoomTo(scale.msOf(Math.min(begun, x)), scale.msOf(Math.max(begun, x)));
  };
  return (
    <th
      scope="col"
      className="ticks"
      onPointerDown={(event) => {
        if (event.target instanceof Element && event.target.closest('button')) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        from.current = xOf(event);
      }}
      onPointerMove={onPointerMove}
      onPointerUp={onPointerUp}
    >
      <span className="unseen">Time since the start</span>
      {ticks.map(({ ms, x, text }) => (
        <span key={ms} className="tick" aria-hidden="true" style={{ transform: `translateX(${x}px)` }}>
          {text}
        </span>
      ))}
      {scale.folds.map((fold) => (
        <Fold key={fold.fromMs} fold={fold} x={scale.xOf(fold.fromMs)} unfold={unfold} />
      ))}
      <span className="drag" ref={mark} />
    </th>
  );
}

function Fold({ fold: { fromMs, toMs, isApproval }, x, unfold }: { fold: Idle; x: number; unfold: Props['unfold'] }) {
  const length = formatDuration(toMs - fromMs);
  const why = isApproval ? 'waiting for approval' : 'no stage ran';
  return (
    <button
      type="button"
      className={`fold${isApproval ? ' approval' : ''}`}
      style={{ left: x + FOLD_PX / 2 }}
      title={`${length}: ${why}. Click to unfold.`}
      aria-label={`Unfold ${length}, ${why}`}
      onClick={() => unfold(fromMs)}
    >
      {'//'} {length} {'//'}
    </button>
  );
}

/** The lines of the ticks, and the zigzag columns of the folded stretches, behind the bars. */
export const AxisLines = ({ ticks, scale, namePx }: { ticks: readonly Tick[]; scale: Scale; namePx: number }) => (
  <div className="lines" aria-hidden="true" style={{ left: namePx }}>
    {ticks.map(({ ms, x }) => (
      <span key={ms} className="line" style={{ transform: `translateX(${x}px)` }} />
    ))}
    {scale.folds.map(({ fromMs, isApproval }) => (
      <span
        key={fromMs}
        className={`folded${isApproval ? ' approval' : ''}`}
        style={{ left: scale.xOf(fromMs), width: FOLD_PX }}
      />
    ))}
  </div>
);
