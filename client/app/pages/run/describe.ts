import type { RunEvent } from '../../../hooks/index.ts';
import { formatCount, formatPercent } from '../../lib/format.ts';

/** Returns the content of an event in one line. The row shows the type and the stage beside it. */
export function describe(event: RunEvent): string {
  switch (event.type) {
    case 'run.created':
      return event.name;
    case 'run.started':
    case 'stage.completed':
      return '';
    case 'run.completed':
      return event.summary ?? '';
    case 'run.failed':
      return withCode(event.error);
    case 'stage.started':
      return attempt(event.attempt);
    case 'stage.progress': {
      const { progress, done, total, message } = event;
      const amount =
        progress !== undefined
          ? formatPercent(progress)
          : done === undefined
            ? undefined
            : `${formatCount(done)}${total === undefined ? '' : ` of ${formatCount(total)}`}`;
      return joined(amount, message);
    }
    case 'stage.failed':
      return joined(attempt(event.attempt), withCode(event.error), event.willRetry ? 'will retry' : '');
    case 'artifact.created':
      return event.name;
    case 'governance.required':
      return event.title;
    case 'approval.granted':
      return joined(`by ${event.decidedBy}`, event.comment);
    case 'approval.denied':
      return event.expired ? event.reason : joined(`by ${event.decidedBy}`, event.reason);
    default:
      return ownFieldsOf(event);
  }
}

const words: { [type: string]: string } = {
  'stage.progress': 'progress',
  'artifact.created': 'artifact',
  'governance.required': 'approval requested',
  'approval.granted': 'approved',
  'approval.denied': 'denied',
};

/** Returns the type of an event in short words, as the app names it: `stage failed`. */
export const wordOfType = (type: string): string => words[type] ?? type.replaceAll('.', ' ');

/** As {@link wordOfType}; an approval that nobody decided in time is `expired`. */
export const wordOf = (event: RunEvent): string =>
  event.type === 'approval.denied' && event.expired ? 'expired' : wordOfType(event.type);

const tones: { [type: string]: string } = {
  'run.completed': 'good',
  'stage.completed': 'good',
  'approval.granted': 'good',
  'governance.required': 'waits',
  'approval.denied': 'bad',
};

/** Returns the class of an event's colour and shape. An event with an `error` is a failure. */
export const toneOf = (event: RunEvent): string => ('error' in event ? 'bad' : (tones[event.type] ?? 'plain'));

const envelope = new Set([
  ...['type', 'projectId', 'runId', 'timestamp', 'eventId', 'audience'],
  ...['actor', 'recordedAt', 'seq', 'runSeq', 'erased'],
]);
/** Fields of an event of an own type in its row; the others are in its details. */
const MAX_FIELDS = 4;

const textOf = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));

/** Returns the first fields of an event of an unknown type, as `value=3 unit=ms`. */
const ownFieldsOf = (event: object): string =>
  Object.entries(event)
    .filter(([name]) => !envelope.has(name) && name !== 'stageId')
    .slice(0, MAX_FIELDS)
    .map(([name, value]) => `${name}=${textOf(value)}`)
    .join(' ');

/** Returns the fields of an event as texts: its own first, then those that all events have. */
export function fieldsOf(event: object | undefined): [name: string, value: string][] {
  const fields = Object.entries(event ?? {}).map(([name, value]): [string, string] => [name, textOf(value)]);
  return [...fields.filter(([name]) => !envelope.has(name)), ...fields.filter(([name]) => envelope.has(name))];
}

const joined = (...parts: (string | undefined)[]) => parts.filter((part) => part).join(' · ');
const attempt = (value: number | undefined) => (value === undefined || value === 1 ? '' : `attempt ${value}`);
const withCode = ({ message, code }: { message: string; code?: string | undefined }) =>
  code === undefined ? message : `${message} (${code})`;
