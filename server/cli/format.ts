import type { RunEvent } from '../../shared/events.ts';

/**
 * Formats an event as one line: time, type, run (only with `hasRun`), stage, details. Control characters and changes of
 * the writing direction are removed: text from a producer must not control the terminal.
 */
export function lineOf(event: RunEvent, hasRun: boolean): string {
  const run = hasRun ? `${`${event.projectId}/${event.runId}`.padEnd(24)}  ` : '';
  const stage = 'stageId' in event && event.stageId !== undefined ? event.stageId : '';
  const line = `${event.timestamp}  ${event.type.padEnd(19)}  ${run}${stage.padEnd(14)}  ${messageOf(event)}`;
  return line.replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]+/gu, ' ').trimEnd();
}

/** Returns JSON with C1 control characters escaped, because some terminals interpret them. */
export const safeJson = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[\u007f-\u009f]/g,
    (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

function messageOf(event: RunEvent): string {
  switch (event.type) {
    case 'run.created':
      return joined(event.name, ...Object.entries(event.labels ?? {}).map(([key, value]) => `${key}=${value}`));
    case 'run.started':
      return '';
    case 'run.completed':
      return joined(event.summary, duration(event.durationMs));
    case 'run.failed':
      return joined(event.error.message, duration(event.durationMs));
    case 'stage.started':
      return joined(event.name, attempt(event.attempt));
    case 'stage.progress':
      return joined(percent(event.progress), amount(event.done, event.total), event.message);
    case 'stage.completed':
      return joined(duration(event.durationMs), attempt(event.attempt));
    case 'stage.failed':
      return joined(event.error.message, attempt(event.attempt), event.willRetry ? '(will retry)' : undefined);
    case 'artifact.created':
      return joined(event.name, bytes(event.sizeBytes), event.uri);
    case 'governance.required':
      return joined(event.title, event.reason);
    case 'approval.granted':
      return joined(`by ${event.decidedBy}`, event.comment);
    case 'approval.denied':
      return joined(`by ${event.decidedBy}`, event.reason);
    default:
      return fieldsOf(event);
  }
}

const envelope = new Set(
  'type projectId runId timestamp eventId audience actor recordedAt seq runSeq erased stageId'.split(' '),
);

/** Formats an event of a type that this command does not know: the fields of that type as `name=value`. */
function fieldsOf(event: object): string {
  const fields = Object.entries(event).filter(([name]) => !envelope.has(name));
  return joined(
    ...fields.map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`),
  );
}

const joined = (...parts: (string | undefined)[]): string => parts.filter((part) => part !== undefined).join('  ');
const percent = (value: number | undefined) => (value === undefined ? undefined : `${Math.floor(value)} %`.padStart(5));
const attempt = (value: number | undefined) => (value === undefined || value === 1 ? undefined : `(attempt ${value})`);
const amount = (done: number | undefined, total: number | undefined) =>
  done === undefined ? undefined : total === undefined ? `${done}` : `${done}/${total}`;

function duration(ms: number | undefined): string | undefined {
  if (ms === undefined) return undefined;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1_000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function bytes(count: number | undefined): string | undefined {
  if (count === undefined) return undefined;
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3));
  return `${(count / 1_000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}
