import { memo, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { useMedia } from '../../hooks/useMedia.ts';
import { useSetting } from '../../hooks/useSetting.ts';
import { formatEventClock } from '../../lib/format.ts';
import { type DrawnPlot, drawPlot } from './draw-plot.ts';
import { PlotTable } from './PlotTable.tsx';
import { dashes, type Line, type PlotOf, type Rows } from './series.ts';
import 'uplot/dist/uPlot.min.css';

/** While the window is resized, plots are drawn at most four times a second. */
const RESIZE_MS = 250;
/** The legend shows a value of the last samples, where the newest has none. */
const LATEST_SAMPLES = 10;

type Props = { plot: PlotOf; rows: Rows; cursorMs: number | null; onCursor: (atMs: number | null) => void };

export const Plot = memo(function Plot({ plot, rows, cursorMs, onCursor }: Props) {
  const [isTable, setIsTable] = useState(false);
  const isUtc = useSetting('times')[0] === 'utc';
  const { id, title, lines } = plot;
  return (
    <section className="plot" aria-labelledby={`plot-${id}`}>
      <div className="plot-title">
        <h2 id={`plot-${id}`}>{title}</h2>
        {cursorMs !== null && lines.length > 0 && <small>{formatEventClock(cursorMs, isUtc).slice(0, 8)}</small>}
        <button type="button" aria-expanded={isTable} onClick={() => setIsTable(!isTable)}>
          {isTable ? 'Hide table' : 'Show as table'}
        </button>
      </div>
      {lines.length > 0 ? (
        <>
          <Canvas plot={plot} rows={rows} onCursor={onCursor} />
          <Legend lines={lines} rows={rows} cursorMs={cursorMs} />
        </>
      ) : (
        <p className="plot-empty soft">{plot.empty}</p>
      )}
      {isTable && <PlotTable plot={plot} rows={rows} />}
    </section>
  );
});

function Canvas({ plot, rows, onCursor }: Omit<Props, 'cursorMs'>) {
  const box = useRef<HTMLDivElement>(null);
  const drawn = useRef<DrawnPlot>(null);
  const latest = useRef({ plot, rows });
  const isUtc = useSetting('times')[0] === 'utc';
  const theme = useSetting('theme')[0];
  const isDark = useMedia('(prefers-color-scheme: dark)');
  const isForced = useMedia('(forced-colors: active)');
  useLayoutEffect(() => {
    const isSame = latest.current.rows === rows;
    latest.current = { plot, rows };
    if (!isSame) drawn.current?.update(rows);
  }, [plot, rows]);
  const lineNames = plot.lines.map(({ name }) => name).join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: a plot with other lines is another plot.
  useLayoutEffect(() => {
    const { current: element } = box;
    if (!element) return;
    const widthPx = Math.max(1, element.clientWidth);
    const made = drawPlot({ box: element, ...latest.current, widthPx, isUtc, isForced, onCursor });
    drawn.current = made;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const observer = new ResizeObserver(() => {
      timer ??= setTimeout(() => {
        timer = undefined;
        if (element.clientWidth > 0) made.resize(element.clientWidth);
      }, RESIZE_MS);
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      clearTimeout(timer);
      drawn.current = null;
      made.destroy();
      element.replaceChildren();
    };
  }, [lineNames, isUtc, isForced, onCursor]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another theme has other colours.
  useEffect(() => drawn.current?.redraw(), [theme, isDark]);
  const names = plot.lines.map(({ name }) => name).join(', ');
  return (
    <div
      className="canvas"
      ref={box}
      role="img"
      aria-label={`Plot of ${names}. The legend and the table have the values.`}
    />
  );
}

/** The values at the cursor; without a cursor the latest ones. */
function Legend({ lines, rows, cursorMs }: { lines: readonly Line[]; rows: Rows; cursorMs: number | null }) {
  const at = cursorMs === null ? -1 : rows.times.indexOf(cursorMs);
  const textOf = ({ of, format }: Line) => {
    const recent = at === -1 ? rows.samples.slice(-LATEST_SAMPLES) : [rows.samples[at] ?? null];
    const value = recent.map((sample) => sample && of(sample)).findLast((one) => one !== null);
    return value == null ? '–' : format(value);
  };
  return (
    <ul className="legend">
      {lines.map((line) => (
        <li key={line.name}>
          <svg width="24" height="8" aria-hidden="true" style={{ color: `var(${line.colour})` }}>
            <line x1="0" x2="24" y1="4" y2="4" strokeDasharray={dashes[line.style].join(' ')} />
          </svg>
          {line.name} <strong>{textOf(line)}</strong>
        </li>
      ))}
    </ul>
  );
}
