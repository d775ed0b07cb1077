import type { RunEvent } from '../../../hooks/index.ts';
import { formatCount, formatPercent } from '../../lib/format.ts';

/** Returns the content of an event in one line. The row shows the type beside it. */
export function describe(event: RunEvent, stageName = ''): string {
  switch (event.type) {
    case 'run.created': {
      const { name, stages = [], stagesFrom } = event;
      if (stagesFrom === undefined) return name;
      return `stages ${formatCount(stagesFrom + 1)} to ${formatCount(stagesFrom + stages.length)} of the plan`;
    }
    case 'run.started':
      return '';
    case 'run.completed':
      return event.summary ?? '';
    case 'run.failed':
      return withCode(event.error);
    case 'stage.started':
      return `${event.name ?? stageName}${attempt(event.attempt)}`;
    case 'stage.progress': {
      const { progress, done, total, message } = event;
      const amount =
        progress !== undefined
          ? formatPercent(progress)
          : done === undefined
            ? undefined
            : `${formatCount(done)}${total === undefined ? '' : ` of ${formatCount(total)}`}`;
      return [stageName, amount, message].filter((part) => part !== undefined).join(' · ');
    }
    case 'stage.completed':
      return stageName;
    case 'stage.failed':
      return `${stageName}${attempt(event.attempt)} · ${withCode(event.error)}${event.willRetry ? ' · will retry' : ''}`;
    case 'artifact.created':
      return event.name;
    case 'governance.required':
      return event.title;
    case 'approval.granted':
      return `by ${event.decidedBy}${event.comment === undefined ? '' : ` · ${event.comment}`}`;
    case 'approval.denied':
      return `by ${event.decidedBy} · ${event.reason}`;
    default:
      return ownFieldsOf(event);
  }
}

/** True for an event that the feed marks as a failure: it has an `error`, or it is a denial. */
export const isFailure = (event: RunEvent): boolean => 'error' in event || event.type === 'approval.denied';

const envelope = new Set([
  ...['type', 'projectId', 'runId', 'timestamp', 'eventId', 'audience'],
  ...['actor', 'recordedAt', 'seq', 'runSeq', 'erased'],
]);

/** Returns the fields of an event of an unknown type, as `value=3 unit=ms`. */
const ownFieldsOf = (event: object): string =>
  Object.entries(event)
    .filter(([name]) => !envelope.has(name))
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');

const attempt = (value: number | undefined) => (value === undefined || value === 1 ? '' : ` · attempt ${value}`);
const withCode = ({ message, code }: { message: string; code?: string | undefined }) =>
  code === undefined ? message : `${message} (${code})`;
