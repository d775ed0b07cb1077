import { memo, useRef } from 'react';
import { useSetting } from '../../hooks/useSetting.ts';
import { copyText } from '../../lib/copy.ts';
import { formatEventClock } from '../../lib/format.ts';
import { csvOf, type Line, type PlotOf, type Rows } from './series.ts';
import { useHold } from './useHold.ts';
import type { Sample } from './usePolls.ts';

/** The numbers of a plot, newest first. While the pointer or the focus is in the table, its rows stay. */
export function PlotTable({ plot: { title, lines }, rows }: { plot: PlotOf; rows: Rows }) {
  const isUtc = useSetting('times')[0] === 'utc';
  const { isHeld, holdProps } = useHold();
  const held = useRef(rows);
  if (!isHeld) held.current = rows;
  const { times, samples } = held.current;
  const lineKey = lines.map(({ name }) => name).join();
  return (
    <div className="plot-table" {...holdProps}>
      {window.isSecureContext && (
        <button type="button" onClick={() => copyText(csvOf(held.current, lines), `Copied: ${title}`)}>
          Copy as CSV
        </button>
      )}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls the table. */}
      <section className="scroll" aria-label={`${title}, table`} tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              {lines.map(({ name }) => (
                <th scope="col" key={name} className="number">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {samples
              .map((sample, row) => (
                <Row key={times[row]} sample={sample} isUtc={isUtc} lines={lines} lineKey={lineKey} />
              ))
              .reverse()}
          </tbody>
        </table>
      </section>
    </div>
  );
}

type RowProps = { sample: Sample | null; isUtc: boolean; lines: readonly Line[]; lineKey: string };

const Row = memo(
  function Row({ sample, isUtc, lines }: RowProps) {
    if (!sample) {
      return (
        <tr>
          <td colSpan={lines.length + 1} className="soft">
            no samples
          </td>
        </tr>
      );
    }
    return (
      <tr>
        <th scope="row">{formatEventClock(sample.at, isUtc).slice(0, 8)}</th>
        {lines.map(({ name, of, format }) => {
          const value = of(sample);
          return (
            <td key={name} className="number">
              {value === null ? '–' : format(value)}
            </td>
          );
        })}
      </tr>
    );
  },
  (before, after) => before.sample === after.sample && before.isUtc === after.isUtc && before.lineKey === after.lineKey,
);
