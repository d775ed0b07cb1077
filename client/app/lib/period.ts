/** Periods of time in addresses: an instant, or a span up to now such as `24h`. */

const SPAN = /^(\d{1,4})(m|h|d)$/;
const unitMs = { m: 60_000, h: 3_600_000, d: 86_400_000 };

export const spans: readonly (readonly [span: string, name: string])[] = [
  ['1h', 'Last hour'],
  ['24h', 'Last 24 hours'],
  ['7d', 'Last 7 days'],
  ['30d', 'Last 30 days'],
];

/**
 * Returns the instant (ISO 8601 UTC) at which a period begins; undefined for a text that is neither an instant nor a span. The
 * beginning of a span moves in steps of a sixtieth of it: a page that is opened again has the same query as before.
 */
export function sinceOf(text: string | undefined, nowMs: number): string | undefined {
  if (!text) return undefined;
  const [, count, unit] = SPAN.exec(text) ?? [];
  const spanMs = unit ? Number(count) * unitMs[unit as keyof typeof unitMs] : 0;
  const ms = unit ? Math.floor((nowMs - spanMs) / (spanMs / 60)) * (spanMs / 60) : Date.parse(text);
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString();
}

/** Words for a span; undefined for an instant. */
export function spanName(text: string): string | undefined {
  const known = spans.find(([span]) => span === text)?.[1];
  if (known) return known;
  const [, count, unit] = SPAN.exec(text) ?? [];
  return unit && `Last ${count} ${unit === 'm' ? 'min' : unit}`;
}
