/**
 * Events as CSV (RFC 4180): the envelope, what many types have, and the event itself as JSON. A text that a spreadsheet
 * would take for a formula gets an apostrophe in front, which the JSON does not have.
 */

type Fields = { [name: string]: unknown };

/** Columns, in order. `message` is what was said, under whatever name the type has for it. */
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
  // Full-width signs are taken for formulas, too, and blanks before them are passed over.
  const text = /^\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? quoted(text) : text;
}

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
