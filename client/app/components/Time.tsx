import { useFromNow } from '../hooks/useNow.ts';
import { useSetting } from '../hooks/useSetting.ts';
import { formatAgo, formatEventClock, formatFull, formatShort } from '../lib/format.ts';

export type TimeForm = 'clock' | 'short' | 'full' | 'ago';

/**
 * An instant (Unix ms, or text as events have it), in the reader's zone or in UTC. `clock`: `13:04:15.120`; `short`: `4:01 AM`,
 * with the day if it is not today; `full`: with seconds and zone; `ago`: `16 min ago`, by the server's clock. The title has
 * both zones.
 */
export function Time({ at, form }: { at: string | number; form: TimeForm }) {
  const ms = typeof at === 'number' ? at : Date.parse(at);
  if (Number.isNaN(ms)) return <span className="none">–</span>;
  return <Instant ms={ms} form={form} />;
}

function Instant({ ms, form }: { ms: number; form: TimeForm }) {
  const isUtc = useSetting('times')[0] === 'utc';
  const text = useFromNow((nowMs) => {
    if (form === 'clock') return formatEventClock(ms, isUtc);
    if (form === 'full') return formatFull(ms, isUtc);
    return form === 'short' ? formatShort(ms, isUtc, nowMs) : formatAgo(ms, nowMs);
  });
  return (
    <time dateTime={new Date(ms).toISOString()} title={bothZones(ms)}>
      {text}
    </time>
  );
}

/** The instant in the reader's zone and in UTC, for titles. */
export function bothZones(ms: number): string {
  const [local, utc] = [formatFull(ms, false), formatFull(ms, true)];
  return local === utc ? utc : `${local} · ${utc}`;
}
