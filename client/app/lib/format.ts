/** Formats numbers and instants for display. */

const count = new Intl.NumberFormat();
export const formatCount = (value: number): string => count.format(value);

const two = (value: number) => String(Math.floor(value)).padStart(2, '0');

export function formatDuration(ms: number): string {
  const seconds = Math.max(0, ms) / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = seconds / 60;
  if (minutes < 60) return `${Math.floor(minutes)} min ${two(seconds % 60)} s`;
  const hours = minutes / 60;
  if (hours < 24) return `${Math.floor(hours)} h ${two(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
}

export function formatBytes(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = -1;
  do {
    value /= 1_000;
    unit++;
  } while (value >= 999.5 && unit < units.length - 1);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** Formats a progress of 0–100 as `64.4 %`. Rounds down, so that only complete progress shows 100 %. */
export const formatPercent = (value: number): string => `${Math.floor(value * 10) / 10} %`;

/** Instants in the zone of the reader or in UTC. The order is day, month, year, and the clock of events has 24 hours. */

const part = (options: Intl.DateTimeFormatOptions, locale: string | undefined) => {
  const [local, utc] = [undefined, 'UTC'].map((timeZone) => new Intl.DateTimeFormat(locale, { ...options, timeZone }));
  return (ms: number, isUtc: boolean) => ((isUtc ? utc : local) as Intl.DateTimeFormat).format(ms);
};
const weekday = part({ weekday: 'short' }, 'en');
const month = part({ month: 'short' }, 'en');
const dayOfMonth = part({ day: 'numeric' }, 'en');
const year = part({ year: 'numeric' }, 'en');
/** `4:01 AM`. */
const formatTime = part({ hour: 'numeric', minute: '2-digit' }, undefined);
const DAY_MS = 86_400_000;

/** Number of a day: the same for all instants of one day in the zone. */
export function dayOf(ms: number, isUtc: boolean): number {
  const offsetMs = isUtc ? 0 : new Date(ms).getTimezoneOffset() * 60_000;
  return Math.floor((ms - offsetMs) / DAY_MS);
}

/** `13:04:15.120`, as in a log. */
export function formatEventClock(ms: number, isUtc: boolean): string {
  const local = isUtc ? ms : ms - new Date(ms).getTimezoneOffset() * 60_000;
  return Number.isNaN(ms) ? '–' : new Date(local).toISOString().slice(11, 23);
}

/** `26 Nov`, with the year if it is not that of `nowMs`. */
function formatDate(ms: number, isUtc: boolean, nowMs: number): string {
  const date = `${dayOfMonth(ms, isUtc)} ${month(ms, isUtc)}`;
  return year(ms, isUtc) === year(nowMs, isUtc) ? date : `${date} ${year(ms, isUtc)}`;
}

/** `Thu 26 Nov`, with the year if it is not that of `nowMs`. */
export const formatDay = (ms: number, isUtc: boolean, nowMs: number): string =>
  `${weekday(ms, isUtc)} ${formatDate(ms, isUtc, nowMs)}`;

/** `UTC+1`: the zone at an instant. */
export function zoneAt(ms: number, isUtc: boolean): string {
  const minutes = isUtc ? 0 : -new Date(ms).getTimezoneOffset();
  if (minutes === 0) return 'UTC';
  const rest = Math.abs(minutes) % 60;
  return `UTC${minutes < 0 ? '−' : '+'}${Math.floor(Math.abs(minutes) / 60)}${rest === 0 ? '' : `:${two(rest)}`}`;
}

/** `4:01 AM` of the day of `nowMs`; `Yesterday 4:01 AM`; `24 Nov 4:01 AM`; the year if it is another. */
export function formatShort(ms: number, isUtc: boolean, nowMs: number): string {
  const days = dayOf(nowMs, isUtc) - dayOf(ms, isUtc);
  const time = formatTime(ms, isUtc);
  if (days === 0) return time;
  return `${days === 1 ? 'Yesterday' : formatDate(ms, isUtc, nowMs)} ${time}`;
}

/** `25 Nov 2026, 13:01:15.120 UTC+1`. */
export const formatFull = (ms: number, isUtc: boolean): string =>
  `${dayOfMonth(ms, isUtc)} ${month(ms, isUtc)} ${year(ms, isUtc)}, ${formatEventClock(ms, isUtc)} ${zoneAt(ms, isUtc)}`;

/** `16 min ago`, `in 44 min`, `now`. */
export function formatAgo(ms: number, nowMs: number): string {
  const seconds = Math.abs(nowMs - ms) / 1_000;
  const units = [
    [86_400 * 2, 86_400, 'd'],
    [3_600, 3_600, 'h'],
    [60, 60, 'min'],
    [1, 1, 's'],
  ] as const;
  const [, unit, name] = units.find(([from]) => seconds >= from) ?? [0, 1, ''];
  if (name === '') return 'now';
  const text = `${Math.floor(seconds / unit)} ${name}`;
  return ms > nowMs ? `in ${text}` : `${text} ago`;
}
