/**
 * Formats events as CSV (RFC 4180). The columns are the fields of every event, fields that many event types have, and
 * the event as JSON. Text that a spreadsheet would run as a formula is prefixed with an apostrophe, except in the JSON.
 */

type Fields = { [name: string]: unknown };

/**
 * Columns in order, each with the function that reads its value. `name`, `message` and `error` join fields that have
 * different names in different event types.
 */
const columns: Record<string, (event: Fields) => unknown> = {
  ...Object.fromEntries(
    ['seq', 'runSeq', 'eventId', 'type', 'projectId', 'runId', 'timestamp', 'recordedAt', 'actor'].map(own),
  ),
  ...Object.fromEntries(
    ['stageId', 'attempt', 'progress', 'durationMs', 'artifactId', 'approvalId', 'decidedBy'].map(own),
  ),
  name: ({ name, title }) => name ?? title,
  message: ({ message, reason, comment, summary }) => message ?? reason ?? comment ?? summary,
  error: ({ error }) => (error as Fields | undefined)?.message,
};

function own(name: string): [string, (event: Fields) => unknown] {
  return [name, (event) => event[name]];
}

export const csvHeader = `${[...Object.keys(columns), 'event'].join(',')}\r\n`;

export function csvLine(json: string): string {
  const event = JSON.parse(json) as Fields;
  const cells = Object.values(columns).map((read) => cellOf(read(event)));
  return `${[...cells, quoted(json)].join(',')}\r\n`;
}

function cellOf(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string') return '';
  // Spreadsheets also accept the full-width forms of these signs, and skip blanks before a sign.
  const text = /^\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? quoted(text) : text;
}

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
