import type { RunStatus, StageStatus } from '../react.tsx';
import { formatDuration, formatPercent } from './format.ts';
import { useNow } from './useNow.ts';

const glyphs: Record<RunStatus | StageStatus, string> = {
  created: '○',
  pending: '○',
  running: '◐',
  waiting: '◫',
  completed: '✓',
  failed: '✕',
};

/** A status: by word, shape and colour, never by colour alone. */
export const Status = ({ value, children }: { value: RunStatus | StageStatus; children?: string | undefined }) => (
  <span className={`status ${value}`}>
    <span className="glyph" aria-hidden="true">
      {glyphs[value]}
    </span>
    {children ?? value}
  </span>
);

export const Progress = ({ value, label, status }: { value: number; label: string; status: string }) => (
  <span className={`progress ${status}`}>
    <progress max={100} value={value} aria-label={label} />
    <span className="percent">{formatPercent(value)}</span>
  </span>
);

/** How long something took or, without an end, has been taking; the clock runs here. */
export function Duration(props: {
  startedAt?: string | undefined;
  endedAt?: string | undefined;
  durationMs?: number | undefined;
}) {
  const { startedAt, endedAt, durationMs } = props;
  const isRunning = startedAt !== undefined && endedAt === undefined && durationMs === undefined;
  const now = useNow(isRunning);
  if (durationMs !== undefined) return formatDuration(durationMs);
  if (startedAt === undefined) return <span className="none">–</span>;
  const endMs = endedAt === undefined ? now : Date.parse(endedAt);
  const ms = Math.max(0, endMs - Date.parse(startedAt));
  return formatDuration(isRunning ? Math.floor(ms / 1_000) * 1_000 : ms).replace('.0 s', ' s');
}
