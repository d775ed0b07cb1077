import { type PointerEvent, useId, useRef, useState } from 'react';
import { Name } from '../../components/Name.tsx';
import { decodedName } from '../../components/ProjectName.tsx';
import { useSetting } from '../../hooks/useSetting.ts';
import { formatCount, formatDay, formatShort } from '../../lib/format.ts';
import { setParams } from '../../lib/navigation.tsx';
import { DEFAULT_SINCE, paramsOf, type SearchFilter } from './filter.ts';
import { type Counts, MAX_COUNTED } from './useCounts.ts';

export type FacetCounts = {
  all: Counts | undefined;
  types: Counts | undefined;
  projects: Counts | undefined;
  actors: Counts | undefined;
};

/** How often each value occurs among the events found. Several values of a facet are alternatives. */
export function Facets({ filter, counts }: { filter: SearchFilter; counts: FacetCounts }) {
  const { types, projects, actors } = filter;
  return (
    <>
      <Facet
        title="Type"
        counts={counts.types?.types}
        isComplete={counts.types?.isComplete}
        chosen={types}
        wordOf={(type) => type.replace('.', ' ')}
        onChange={(next) => setParams(paramsOf({ types: next }))}
      />
      <Facet
        title="Project"
        counts={counts.projects?.projects}
        isComplete={counts.projects?.isComplete}
        chosen={projects}
        wordOf={decodedName}
        onChange={(next) => setParams(paramsOf({ projects: next }))}
      />
      <Facet
        title="Who"
        counts={counts.actors?.actors}
        isComplete={counts.actors?.isComplete}
        chosen={actors}
        onChange={(next) => setParams(paramsOf({ actors: next }))}
      />
      <TimeFacet counts={counts.all} filter={filter} />
    </>
  );
}

export const countOf = (count: number): string =>
  count >= MAX_COUNTED ? `${formatCount(MAX_COUNTED)}+` : formatCount(count);

/** Values that are shown until the user asks for all. */
const SHOWN = 8;

type FacetProps = {
  title: string;
  counts: ReadonlyMap<string, number> | undefined;
  isComplete: boolean | undefined;
  chosen: readonly string[];
  wordOf?: (value: string) => string;
  onChange: (chosen: string[]) => void;
};

function Facet({ title, counts, isComplete = true, chosen, wordOf = (value) => value, onChange }: FacetProps) {
  const [isWhole, setIsWhole] = useState(false);
  const id = useId();
  // A chosen value without an event stays, so that it can be removed.
  const missing = chosen.filter((value) => !counts?.has(value));
  const values = [...(counts ?? new Map<string, number>()), ...missing.map((value) => [value, 0] as const)];
  values.sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1));
  const shown = isWhole ? values : values.filter(([value], index) => index < SHOWN || chosen.includes(value));
  return (
    <section className="facet" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {shown.map(([value, count]) => {
        const isOn = chosen.includes(value);
        return (
          <label key={value}>
            <input
              type="checkbox"
              checked={isOn}
              onChange={() => onChange(isOn ? chosen.filter((one) => one !== value) : [...chosen, value])}
            />
            <span className="value" title={value}>
              <Name>{wordOf(value)}</Name>
            </span>
            <span className="count">
              {countOf(count)}
              {!isComplete && count > 0 && count < MAX_COUNTED && '+'}
            </span>
          </label>
        );
      })}
      {counts && values.length === 0 && <p className="soft">None</p>}
      {values.length > shown.length && (
        <button type="button" className="more-values" onClick={() => setIsWhole(true)}>
          Show all {formatCount(values.length)}
        </button>
      )}
    </section>
  );
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MAX_HOURS = 72;
const MIN_BARS = 12;
const MAX_BARS = 92;
const HEIGHT = 40;

/** Bars by hour or day. Dragging over bars chooses their time; a click chooses one bar. */
function TimeFacet({ counts, filter }: { counts: Counts | undefined; filter: SearchFilter }) {
  const isUtc = useSetting('times')[0] === 'utc';
  const plot = useRef<SVGSVGElement>(null);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const { bars, startMs, barMs } = barsOf(counts?.hours ?? new Map(), isUtc);
  if (bars.length === 0) return null;
  const most = Math.max(...bars);
  const indexAt = (event: PointerEvent) => {
    const box = plot.current?.getBoundingClientRect();
    if (!box) return 0;
    return Math.max(0, Math.min(bars.length - 1, Math.floor(((event.clientX - box.left) / box.width) * bars.length)));
  };
  const isIn = (index: number) =>
    drag && index >= Math.min(drag.from, drag.to) && index <= Math.max(drag.from, drag.to);
  const end = () => {
    if (!drag) return;
    setDrag(null);
    const [from, to] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
    const instant = (index: number) => new Date(startMs + index * barMs).toISOString();
    setParams(paramsOf({ since: instant(from), until: instant(to + 1) }));
  };
  const unit = barMs === HOUR_MS ? 'hour' : barMs === DAY_MS ? 'day' : `${barMs / DAY_MS} days`;
  const nameOf = (index: number) => {
    const ms = startMs + index * barMs;
    return barMs === HOUR_MS ? formatShort(ms, isUtc, Date.now()) : formatDay(ms, isUtc, Date.now());
  };
  return (
    <section className="facet" aria-label="Time">
      <h2>
        Time <small>by {unit}</small>
      </h2>
      <svg
        ref={plot}
        className="times"
        role="img"
        aria-label={`Events by ${unit}, ${nameOf(0)} to ${nameOf(bars.length - 1)}: at most ${formatCount(most)}`}
        viewBox={`0 0 ${bars.length} ${HEIGHT}`}
        preserveAspectRatio="none"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          setDrag({ from: indexAt(event), to: indexAt(event) });
        }}
        onPointerMove={(event) => drag && setDrag({ ...drag, to: indexAt(event) })}
        onPointerUp={end}
        onPointerCancel={() => setDrag(null)}
      >
        {bars.map((count, index) => {
          const start = startMs + index * barMs;
          const height = count === 0 ? 0 : Math.max(2, (count / most) * HEIGHT);
          return (
            <g key={start} className={isIn(index) ? 'chosen' : undefined}>
              <rect className="area" x={index} y={0} width={1} height={HEIGHT}>
                <title>{`${nameOf(index)}: ${countOf(count)}`}</title>
              </rect>
              <rect className="bar" x={index + 0.1} y={HEIGHT - height} width={0.8} height={height} />
            </g>
          );
        })}
      </svg>
      <p className="ends">
        <span>{nameOf(0)}</span>
        <span>{nameOf(bars.length - 1)}</span>
      </p>
      {(filter.until || Number.isFinite(Date.parse(filter.since))) && (
        <button
          type="button"
          className="more-values"
          onClick={() => setParams(paramsOf({ since: DEFAULT_SINCE, until: undefined }))}
        >
          Whole period
        </button>
      )}
    </section>
  );
}

/** Joins the counts of hours to bars of an hour, or of days of the reader's zone. */
function barsOf(
  hours: ReadonlyMap<number, number>,
  isUtc: boolean,
): { bars: number[]; startMs: number; barMs: number } {
  if (hours.size === 0) return { bars: [], startMs: 0, barMs: HOUR_MS };
  const [first, last] = [Math.min(...hours.keys()), Math.max(...hours.keys())];
  const isByHour = last - first < MAX_HOURS * HOUR_MS;
  const days = Math.ceil((last - first + DAY_MS) / DAY_MS / MAX_BARS);
  const barMs = isByHour ? HOUR_MS : DAY_MS * days;
  const offsetMs = isByHour || isUtc ? 0 : new Date(first).getTimezoneOffset() * 60_000;
  const unitMs = Math.min(barMs, DAY_MS);
  const beginMs = Math.floor((first - offsetMs) / unitMs) * unitMs + offsetMs;
  // Few bars would be as wide as the plot.
  const lacking = Math.max(0, MIN_BARS - Math.floor((last - beginMs) / barMs) - 1);
  const startMs = beginMs - lacking * barMs;
  const bars = Array.from({ length: Math.floor((last - startMs) / barMs) + 1 }, () => 0);
  for (const [ms, count] of hours) {
    const index = Math.floor((ms - startMs) / barMs);
    bars[index] = (bars[index] ?? 0) + count;
  }
  return { bars, startMs, barMs };
}
