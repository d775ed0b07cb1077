import { type MouseEvent, memo } from 'react';
import { useSetting } from '../../hooks/useSetting.ts';
import { formatCount, formatShort } from '../../lib/format.ts';
import { setParams } from '../../lib/navigation.tsx';
import { paramsOf, type RunsFilter, shownStatuses } from './filters.ts';
import { type Activity, BAR_MS, BARS, type Counts } from './useActivity.ts';
import { statusWords } from './words.ts';

const HEIGHT = 48;
/** From the bottom to the top: what needs attention is at the top. */
const order = ['completed', 'created', 'running', 'waiting', 'cancelled', 'failed'] as const;

/** Bars of the last day, one for each quarter of an hour. A click on a bar filters the list to the runs of that time. */
export const ActivityPlot = memo(function ActivityPlot({
  activity,
  filter,
}: {
  activity: Activity;
  filter: RunsFilter;
}) {
  const { bars, sinceMs, isComplete } = activity;
  const isUtc = useSetting('times')[0] === 'utc';
  const most = Math.max(1, ...bars.map(totalOf));
  const total = bars.reduce((sum, bar) => sum + totalOf(bar), 0);
  const startOf = (index: number) => new Date(sinceMs + index * BAR_MS).toISOString();
  const isChosen = (index: number) => filter.since === startOf(index) && filter.until === startOf(index + 1);
  const choose = (event: MouseEvent) => {
    const box = event.currentTarget.getBoundingClientRect();
    const index = Math.min(BARS - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * BARS)));
    const chosen = isChosen(index) ? {} : { since: startOf(index), until: startOf(index + 1) };
    setParams(paramsOf({ since: undefined, until: undefined, ...chosen }));
  };
  const label = `Runs of the last 24 hours: ${isComplete ? '' : 'more than '}${formatCount(total)}${wordsOf(sumOf(bars))}`;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the filter “Since” does the same for the keyboard.
    <svg
      className="activity"
      role="img"
      aria-label={label}
      viewBox={`0 0 ${BARS} ${HEIGHT}`}
      preserveAspectRatio="none"
      onClick={choose}
    >
      {bars.map((bar, index) => {
        let top = HEIGHT;
        const start = sinceMs + index * BAR_MS;
        const time = `${formatShort(start, isUtc, sinceMs + BARS * BAR_MS)} – ${formatShort(start + BAR_MS, isUtc, start + BAR_MS)}`;
        return (
          <g key={start} className={isChosen(index) ? 'chosen' : undefined}>
            <rect className="area" x={index} y={0} width={1} height={HEIGHT}>
              <title>{`${time}: ${formatCount(totalOf(bar))} ${totalOf(bar) === 1 ? 'run' : 'runs'}${wordsOf(bar)}`}</title>
            </rect>
            {order.map((status) => {
              const count = bar[status] ?? 0;
              if (count === 0) return null;
              const height = Math.max(1.5, (count / most) * (HEIGHT - 2));
              top -= height;
              return <rect key={status} className={status} x={index + 0.1} y={top} width={0.8} height={height} />;
            })}
          </g>
        );
      })}
    </svg>
  );
});

const totalOf = (counts: Counts) => shownStatuses.reduce((sum, status) => sum + (counts[status] ?? 0), 0);

function sumOf(bars: readonly Counts[]): Counts {
  const sum: { -readonly [Status in keyof Counts]: number } = {};
  for (const bar of bars) for (const status of shownStatuses) sum[status] = (sum[status] ?? 0) + (bar[status] ?? 0);
  return sum;
}

const wordsOf = (counts: Counts) => {
  const words = shownStatuses
    .filter((status) => counts[status])
    .map((status) => `${formatCount(counts[status] ?? 0)} ${statusWords[status]}`);
  return words.length === 0 ? '' : `: ${words.join(', ')}`;
};
