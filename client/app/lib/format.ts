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

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const minute = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
export const formatTime = (ms: number): string => minute.format(ms);
export const formatDateTime = (instant: string): string => dateTime.format(new Date(instant));
export const formatClock = (instant: string): string => clock.format(new Date(instant));

/** Formats a progress of 0–100 as `64.4 %`. Rounds down, so that only complete progress shows 100 %. */
export const formatPercent = (value: number): string => `${Math.floor(value * 10) / 10} %`;
