import { type PointerEvent, type RefObject, useEffect, useRef, useState } from 'react';
import type { Stage } from '../../../../hooks/index.ts';
import type { Scale } from './scale.ts';
import { timesOf } from './times.ts';

const BUCKETS = 240;
const HEIGHT = 24;

type Props = {
  stages: readonly Stage[];
  /** The scale with which the whole span is visible. */
  scale: Scale;
  endMs: number;
  scroller: RefObject<HTMLElement | null>;
  /** Width of the zoomed axis, and of its visible part. */
  wholePx: number;
  visiblePx: number;
};

/** The whole axis in 24 px: how many stages ran when, failures as red ticks, and the visible part as a frame. */
export function Minimap({ stages, scale, endMs, scroller, wholePx, visiblePx }: Props) {
  const { path, failures } = useDensity(stages, scale, endMs);
  const map = useRef<HTMLDivElement>(null);
  const frame = useRef<HTMLSpanElement>(null);
  const share = Math.min(1, visiblePx / Math.max(1, wholePx));
  useEffect(() => {
    const box = scroller.current;
    const move = () => {
      if (box && frame.current) frame.current.style.left = `${(100 * box.scrollLeft) / Math.max(1, wholePx)}%`;
    };
    move();
    box?.addEventListener('scroll', move, { passive: true });
    return () => box?.removeEventListener('scroll', move);
  }, [scroller, wholePx]);
  const moveTo = (event: PointerEvent) => {
    const bounds = map.current?.getBoundingClientRect();
    if (!bounds || !scroller.current || (event.type === 'pointermove' && event.buttons === 0)) return;
    const at = (event.clientX - bounds.left) / bounds.width - share / 2;
    scroller.current.scrollLeft = at * wholePx;
  };
  return (
    <div
      className="minimap"
      ref={map}
      aria-hidden="true"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        moveTo(event);
      }}
      onPointerMove={moveTo}
    >
      <svg viewBox={`0 0 ${BUCKETS} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        <path className="density" d={path} />
        {failures.map((x) => (
          <path key={x} className="failures" d={`M${x + 0.5} 0v7`} />
        ))}
      </svg>
      {share < 1 && <span className="frame" ref={frame} style={{ width: `${100 * share}%` }} />}
    </div>
  );
}

type Density = { path: string; failures: number[] };
const EVERY_MS = 1_000;

/** Computed once a second, and not in the task that shows the timeline for the first time. */
function useDensity(stages: readonly Stage[], scale: Scale, endMs: number): Density {
  const [density, setDensity] = useState<Density>({ path: '', failures: [] });
  const latest = useRef({ stages, scale, endMs });
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const isFirst = useRef(true);
  useEffect(() => {
    latest.current = { stages, scale, endMs };
    timer.current ??= setTimeout(
      () => {
        timer.current = undefined;
        isFirst.current = false;
        const { stages: all, scale: on, endMs: until } = latest.current;
        setDensity(densityOf(all, on, until));
      },
      isFirst.current ? 0 : EVERY_MS,
    );
  }, [stages, scale, endMs]);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      timer.current = undefined;
    },
    [],
  );
  return density;
}

/** Counts the running stages of each part of the axis, in one pass. */
function densityOf(stages: readonly Stage[], scale: Scale, endMs: number): Density {
  const changes = new Int32Array(BUCKETS + 1);
  const failed = new Set<number>();
  const width = scale.widthPx || 1;
  const bucketOf = (ms: number) => Math.max(0, Math.min(BUCKETS - 1, Math.floor((BUCKETS * scale.xOf(ms)) / width)));
  for (const stage of stages) {
    for (const { fromMs, toMs = endMs, status } of timesOf(stage).attempts) {
      const [first, last] = [bucketOf(fromMs), bucketOf(toMs)];
      changes[first] = (changes[first] ?? 0) + 1;
      changes[last + 1] = (changes[last + 1] ?? 0) - 1;
      if (status === 'failed') failed.add(last);
    }
  }
  let most = 1;
  let running = 0;
  const counts: number[] = [];
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    running += changes[bucket] ?? 0;
    counts.push(running);
    most = Math.max(most, running);
  }
  const yOf = (count: number) => (HEIGHT - (count === 0 ? 0 : 2 + ((HEIGHT - 5) * count) / most)).toFixed(1);
  const steps = counts.map((count, bucket) => `V${yOf(count)}H${bucket + 1}`);
  return { path: `M0 ${HEIGHT}${steps.join('')}V${HEIGHT}Z`, failures: [...failed].sort((a, b) => a - b) };
}
