import uPlot from 'uplot';
import { formatEventClock } from '../../lib/format.ts';
import { dashes, heightsOf, type Line, type PlotOf, type Rows } from './series.ts';

export type DrawnPlot = {
  update(rows: Rows): void;
  resize(widthPx: number): void;
  /** Reads the colours of the theme again. */
  redraw(): void;
  destroy(): void;
};

export type PlotOptions = {
  box: HTMLElement;
  plot: PlotOf;
  rows: Rows;
  widthPx: number;
  isUtc: boolean;
  /** The browser has replaced the colours: all lines have one, and there is no grid. */
  isForced: boolean;
  /** The cursor of the plots is at a time (Unix ms), or has left them. */
  onCursor(atMs: number | null): void;
};

export const PLOT_PX = 220;
const AXIS_PX = 58;

/** Draws a plot on a canvas. The cursors of all plots of the page move together. */
export function drawPlot({ box, plot, rows, widthPx, isUtc, isForced, onCursor }: PlotOptions): DrawnPlot {
  let shown = rows;
  const colour = coloursIn(box);
  const { lines, isStacked = false } = plot;
  const dataOf = () => [shown.times, ...heightsOf(shown, plot)] as uPlot.AlignedData;
  const left = lines.find(({ axis }) => axis !== 'right');
  const right = lines.find(({ axis }) => axis === 'right');
  const axisOf = (scale: string, line: Line | undefined, side: 1 | 3): uPlot.Axis => ({
    scale,
    side,
    size: AXIS_PX,
    stroke: () => colour('--soft'),
    grid: { show: side === 3 && !isForced, stroke: () => colour('--line'), width: 1 },
    ticks: { show: false },
    values: (_, splits) => splits.map((value) => line?.format(value) ?? ''),
  });
  const rangeOf = (line: Line | undefined): uPlot.Scale => ({
    range: (_, __, max) => [0, Math.max(line?.least ?? 1, max ?? 0) * 1.1],
  });
  const drawn = new uPlot(
    {
      width: widthPx,
      height: PLOT_PX,
      ms: 1,
      padding: [8, right ? 0 : 12, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        sync: { key: 'runwire:operations' },
        points: { size: 7 },
      },
      scales: {
        x: { time: true, range: () => [shown.fromMs, shown.toMs] },
        left: rangeOf(left),
        right: rangeOf(right),
      },
      axes: [
        {
          stroke: () => colour('--soft'),
          grid: { show: !isForced, stroke: () => colour('--line'), width: 1 },
          ticks: { show: false },
          size: 28,
          space: 70,
          values: (_, splits) => splits.map((ms) => formatEventClock(ms, isUtc).slice(0, ms % 60_000 === 0 ? 5 : 8)),
        },
        axisOf('left', left, 3),
        ...(right ? [axisOf('right', right, 1)] : []),
      ],
      series: [{}, ...lines.map((line) => seriesOf(line, isStacked && !isForced, colour))],
      hooks: {
        setCursor: [
          ({ cursor: { idx, left = -1 } }) => onCursor(idx == null || left < 0 ? null : (shown.times[idx] ?? null)),
        ],
      },
    },
    dataOf(),
    box,
  );
  return {
    update: (next) => {
      shown = next;
      drawn.setData(dataOf());
    },
    resize: (width) => drawn.setSize({ width, height: PLOT_PX }),
    redraw: () => drawn.redraw(),
    destroy: () => drawn.destroy(),
  };
}

function seriesOf({ name, style, colour: variable, axis }: Line, isFilled: boolean, colour: ColourOf): uPlot.Series {
  return {
    label: name,
    scale: axis ?? 'left',
    stroke: () => colour(variable),
    width: 1.5,
    dash: dashes[style],
    ...(isFilled ? { fill: () => `color-mix(in srgb, ${colour(variable)} 30%, ${colour('--surface')})` } : {}),
    points: {
      show: false,
      size: 3,
      fill: () => colour(variable),
      // A value between two gaps would otherwise not be seen.
      filter: ({ data }, at) => alone(data[at] ?? []),
    },
  };
}

const alone = (values: ArrayLike<number | null | undefined>): number[] =>
  Array.from(values, (value, at) =>
    value != null && values[at - 1] == null && values[at + 1] == null ? at : -1,
  ).filter((at) => at !== -1);

type ColourOf = (variable: string) => string;

/** Returns a function that resolves a variable of base.css in an element: a canvas knows no variables. */
function coloursIn(box: HTMLElement): ColourOf {
  const probe = box.ownerDocument.createElement('span');
  probe.hidden = true;
  box.append(probe);
  return (variable) => {
    probe.style.color = `var(${variable})`;
    return getComputedStyle(probe).color;
  };
}
