import type { ReactNode } from 'react';
import { useServerNow } from '../hooks/useNow.ts';
import { formatDuration, formatPercent } from '../lib/format.ts';

/** A status of a run, a stage or an approval, in the word that the pages show. */
export type Shown =
  | 'created'
  | 'queued'
  | 'pending'
  | 'running'
  | 'waiting'
  | 'completed'
  | 'failed'
  | 'unfinished'
  | 'not run'
  | 'cancelled'
  | 'approved'
  | 'denied'
  | 'expired'
  | 'run ended first';

const ring = <circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" strokeWidth="1.6" />;
const disc = <circle cx="8" cy="8" r="6.8" fill="currentColor" />;
const cut = {
  fill: 'none',
  stroke: 'var(--surface)',
  strokeWidth: 1.8,
  strokeLinecap: 'round',
  strokeLinejoin: 'round',
} as const;

const check = (
  <>
    {disc}
    <path d="M5 8.3l2.1 2.1L11.1 6" {...cut} />
  </>
);

const cross = (
  <>
    {disc}
    <path d="M5.7 5.7l4.6 4.6M10.3 5.7l-4.6 4.6" {...cut} />
  </>
);

const slashed = (
  <>
    {ring}
    <path d="M4 12L12 4" stroke="currentColor" strokeWidth="1.6" />
  </>
);

const dash = <path d="M3.5 8h9" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" />;

/** One shape per status, so that no information depends on colour alone. */
const shapes: Record<Shown, ReactNode> = {
  created: ring,
  queued: ring,
  pending: <circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" strokeWidth="1.6" strokeDasharray="2.4 2.3" />,
  running: (
    <>
      {ring}
      <path d="M8 2 A6 6 0 0 1 8 14 Z" fill="currentColor" />
    </>
  ),
  waiting: (
    <>
      {disc}
      <path d="M6 5.4v5.2M10 5.4v5.2" {...cut} />
    </>
  ),
  completed: check,
  failed: cross,
  cancelled: (
    <>
      {disc}
      <path d="M5.2 8h5.6" {...cut} />
    </>
  ),
  unfinished: slashed,
  'not run': dash,
  approved: check,
  denied: cross,
  expired: slashed,
  'run ended first': dash,
};

/** The shape of a status. */
export const Glyph = ({ value }: { value: Shown }) => (
  <svg className="glyph" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
    {shapes[value]}
  </svg>
);

/** A status as a word (or another text), a shape and a colour. */
export const Status = ({ value, children = value }: { value: Shown; children?: string }) => (
  <span className={`status ${toneOf(value)}`}>
    <Glyph value={value} />
    <span className="word">{children}</span>
  </span>
);

const tones: Partial<Record<Shown, string>> = {
  cancelled: 'failed',
  unfinished: 'failed',
  'not run': 'pending',
  approved: 'completed',
  denied: 'failed',
  expired: 'failed',
  'run ended first': 'pending',
};

/** Returns the CSS class that sets the colour of a status. */
export const toneOf = (value: Shown): string => tones[value] ?? value;

export const Progress = ({ value, label, status }: { value: number; label: string; status: string }) => (
  <span className={`progress ${status}`}>
    <progress max={100} value={value} aria-label={label} />
    <span className="percent">{formatPercent(value)}</span>
  </span>
);

type Span = { startedAt?: string | undefined; endedAt?: string | undefined; durationMs?: number | undefined };

/** Shows a duration. With a start but no end, it counts up every second. */
export function Duration({ startedAt, endedAt, durationMs }: Span) {
  const isRunning = startedAt !== undefined && endedAt === undefined && durationMs === undefined;
  const now = useServerNow(isRunning);
  if (durationMs !== undefined) return formatDuration(durationMs);
  if (startedAt === undefined) return <None />;
  const endMs = endedAt === undefined ? now : Date.parse(endedAt);
  const ms = Math.max(0, endMs - Date.parse(startedAt));
  return formatDuration(isRunning ? Math.floor(ms / 1_000) * 1_000 : ms).replace('.0 s', ' s');
}

export const None = () => <span className="none">–</span>;
