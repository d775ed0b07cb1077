import { formatBytes, formatCount } from '../../lib/format.ts';
import type { Sample } from './usePolls.ts';

/** The plots of the overview: which numbers of a sample each line shows. */

export const windows = { '10m': 600_000, '1h': 3_600_000 } as const;
export type Window = keyof typeof windows;
export const windowNames: { readonly [Name in Window]: string } = { '10m': '10 min', '1h': '1 h' };

/** Lines differ by style, not only by colour. */
export type Style = 'solid' | 'dashed' | 'dotted';
export const dashes: { readonly [Name in Style]: number[] } = { solid: [], dashed: [8, 4], dotted: [2, 3] };

export type Line = {
  name: string;
  style: Style;
  /** Name of a variable of base.css. */
  colour: string;
  /** A line of the right axis has another unit. */
  axis?: 'right';
  of: (sample: Sample) => number | null;
  format: (value: number) => string;
  /** The axis reaches at least to this value. */
  least: number;
};
export type PlotOf = { id: string; title: string; isStacked?: boolean; lines: readonly Line[]; empty?: string };

/** Units: how values are written, and how far their axis reaches at least. */
export const formatMs = (value: number): string => `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ms`;

const count = { format: formatCount, least: 4 };
const bytes = { format: formatBytes, least: 1_000 };
const ms = { format: formatMs, least: 1 };

const plots: readonly PlotOf[] = [
  {
    id: 'events',
    title: 'Events per second',
    lines: [
      { name: 'published', style: 'solid', colour: '--running', of: (one) => one.published, ...count },
      { name: 'delivered', style: 'dashed', colour: '--completed', of: (one) => one.delivered, ...count },
    ],
  },
  {
    id: 'latency',
    title: 'Publish → send',
    lines: [
      { name: 'p50', style: 'solid', colour: '--running', of: (one) => one.publishP50Ms, ...ms },
      { name: 'p99', style: 'dashed', colour: '--waiting', of: (one) => one.publishP99Ms, ...ms },
    ],
  },
  { id: 'refused', title: 'Refused by reason', isStacked: true, lines: [] },
  {
    id: 'log',
    title: 'Log: sizes, commit',
    lines: [
      { name: 'database', style: 'solid', colour: '--running', of: (one) => one.databaseBytes, ...bytes },
      { name: 'WAL', style: 'dotted', colour: '--edge', of: (one) => one.walBytes, ...bytes },
      {
        name: 'commit p99',
        style: 'dashed',
        colour: '--waiting',
        axis: 'right',
        of: (one) => one.commitP99Ms,
        ...ms,
      },
    ],
  },
  {
    id: 'readers',
    title: 'Readers: lag, unsent bytes',
    lines: [
      { name: 'most lag', style: 'solid', colour: '--running', of: (one) => one.mostLag, ...count },
      {
        name: 'unsent',
        style: 'dashed',
        colour: '--waiting',
        axis: 'right',
        of: (one) => one.unsentBytes,
        ...bytes,
      },
    ],
  },
  {
    id: 'process',
    title: 'Event-loop delay, memory',
    lines: [
      { name: 'delay', style: 'solid', colour: '--running', of: (one) => one.loopDelayMs, ...ms },
      {
        name: 'memory',
        style: 'dashed',
        colour: '--completed',
        axis: 'right',
        of: (one) => one.memoryBytes,
        ...bytes,
      },
    ],
  },
];

const MAX_REASONS = 5;
const styles: readonly Style[] = ['solid', 'dashed', 'dotted'];
const colours = ['--failed', '--waiting', '--running', '--completed', '--edge'];

/** Returns the plots. That of refusals has a line for each of the most frequent error codes of the samples. */
export function plotsOf(samples: readonly Sample[], window: Window): readonly PlotOf[] {
  const counts = new Map<string, number>();
  for (const { refused } of samples) {
    for (const [code, count] of Object.entries(refused)) counts.set(code, (counts.get(code) ?? 0) + count);
  }
  const codes = [...counts].sort(([, a], [, b]) => b - a).map(([code]) => code);
  const named = codes.length > MAX_REASONS ? codes.slice(0, MAX_REASONS - 1) : codes;
  const others = codes.slice(named.length);
  const line = (name: string, at: number, ofCodes: readonly string[]): Line => ({
    name,
    style: styles[at % styles.length] as Style,
    colour: colours[at] as string,
    of: ({ refused }) => ofCodes.reduce((sum, code) => sum + (refused[code] ?? 0), 0),
    ...count,
  });
  const lines = named.map((code, at) => line(code, at, [code]));
  if (others.length > 0) lines.push(line('others', named.length, others));
  const empty = `Nothing was refused in the last ${windowNames[window]}.`;
  return plots.map((plot) => (plot.id === 'refused' ? { ...plot, lines, empty } : plot));
}

/** The samples of a window by time. A row without a sample, where seconds are missing, is a gap of the lines. */
export type Rows = { times: number[]; samples: (Sample | null)[]; fromMs: number; toMs: number };

/** Samples farther apart have a gap between them. */
const GAP_MS = 2_500;

export function rowsOf(samples: readonly Sample[], windowMs: number): Rows {
  const toMs = samples.at(-1)?.at ?? 0;
  const rows: Rows = { times: [], samples: [], fromMs: toMs - windowMs, toMs };
  let beforeMs = Number.POSITIVE_INFINITY;
  for (const sample of samples) {
    if (sample.at <= rows.fromMs) continue;
    if (sample.at - beforeMs > GAP_MS) {
      rows.times.push(beforeMs + 1_000);
      rows.samples.push(null);
    }
    rows.times.push(sample.at);
    rows.samples.push(sample);
    beforeMs = sample.at;
  }
  return rows;
}

export const valuesOf = ({ samples }: Rows, { of }: Line): (number | null)[] =>
  samples.map((sample) => sample && of(sample));

/** Returns what is drawn: the values, or in a stacked plot each line on top of those after it. */
export function heightsOf(rows: Rows, { lines, isStacked = false }: PlotOf): (number | null)[][] {
  const values = lines.map((line) => valuesOf(rows, line));
  if (!isStacked) return values;
  for (let at = values.length - 2; at >= 0; at--) {
    const below = values[at + 1] as (number | null)[];
    values[at] = values[at]?.map((value, row) => (value === null ? null : value + (below[row] ?? 0))) ?? [];
  }
  return values;
}

/** The rows as CSV: times in ISO 8601 UTC, and numbers without units. */
export function csvOf({ times, samples }: Rows, lines: readonly Line[]): string {
  const head = ['time', ...lines.map(({ name }) => name)];
  const rows = samples.flatMap((sample, row) => {
    if (!sample) return [];
    return [[new Date(times[row] as number).toISOString(), ...lines.map(({ of }) => of(sample) ?? '')]];
  });
  return [head, ...rows].map((cells) => `${cells.join(',')}\n`).join('');
}
