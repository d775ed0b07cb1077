import type { EventCategory, RunEventType } from '../../../hooks/index.ts';
import { formatCount } from '../../lib/format.ts';
import type { DeadLetter, Shape, WebhookSummary } from './data.ts';

export const shapes: { readonly [S in Shape]: string } = {
  json: 'Standard Webhooks JSON',
  slack: 'Slack',
  teams: 'Teams',
};

export const categories = {
  run: ['run.created', 'run.started', 'run.completed', 'run.failed'],
  stage: ['stage.started', 'stage.progress', 'stage.completed', 'stage.failed'],
  artifact: ['artifact.created'],
  governance: ['governance.required', 'approval.granted', 'approval.denied'],
} as const satisfies { readonly [C in EventCategory]: readonly RunEventType[] };
export const categoryNames: { readonly [C in EventCategory]: string } = {
  run: 'Runs',
  stage: 'Stages',
  artifact: 'Artifacts',
  governance: 'Approvals',
};

/** Filters to begin with. */
export const presets: { readonly [id: string]: { name: string; types?: RunEventType[] } } = {
  approvals: { name: 'Approvals waiting', types: ['governance.required'] },
  failed: { name: 'Runs that failed', types: ['run.failed'] },
  all: { name: 'Everything' },
};

export function filterText({ projects, types, categories: names, labels }: WebhookSummary['filter']): string {
  const nameOf = (name: string) => (categoryNames as { [name: string]: string })[name] ?? name;
  const chosen = [...(names ?? []).map((name) => `all of ${nameOf(name).toLowerCase()}`), ...(types ?? [])];
  const what = types || names ? chosen.join(', ') || 'nothing' : 'all events';
  const where = projects ? ` in ${projects.join(', ')}` : '';
  const pairs = Object.entries(labels ?? {}).map(([name, value]) => `${name}=${value}`);
  return `${what}${where}${pairs.length > 0 ? ` with ${pairs.join(', ')}` : ''}`;
}

const failures: { readonly [R in DeadLetter['reason']]: string } = {
  status: 'refused',
  redirect: 'a redirect',
  timeout: 'no answer in 10 s',
  connection: 'no connection',
  dns: 'unknown host',
  tls: 'TLS failed',
  address_refused: 'address inside the network',
  expired: 'removed by retention',
  internal: 'an internal error',
};

export const failureText = (reason: DeadLetter['reason'], status?: number): string =>
  status === undefined ? failures[reason] : `${status}${reason === 'redirect' ? ' redirect' : ''}`;

const pauses = {
  asked: 'paused',
  gone: 'paused: the receiver answered 410',
  dead_letters: 'paused: 1,000 dead letters',
} as const;

/** The state in words, and the look of its glyph. */
export function stateOf({ state, pausedFor, retries, failure }: WebhookSummary): {
  text: string;
  look: 'completed' | 'waiting' | 'failed' | 'created';
} {
  const why = failure ? `: ${failureText(failure.reason, failure.status)}` : '';
  if (state === 'paused') {
    return { text: pauses[pausedFor ?? 'asked'], look: pausedFor === 'asked' ? 'created' : 'waiting' };
  }
  if (state === 'failing') return { text: `failing${why}`, look: 'failed' };
  if (state === 'retrying') return { text: `retrying (${formatCount(retries)})${why}`, look: 'waiting' };
  return { text: 'delivering', look: 'completed' };
}

/** What is still to be sent: messages that wait, else events that the server has not looked at. */
export function waitingText({ waiting, behind }: Pick<WebhookSummary, 'waiting' | 'behind'>): string {
  if (waiting > 0) return waiting === 1 ? '1 message waits' : `${formatCount(waiting)} messages wait`;
  if (behind === 0) return 'up to date';
  return `${formatCount(behind)} ${behind === 1 ? 'event' : 'events'} of the log not looked at yet`;
}

/** `team=ml, env=prod` to labels; undefined for a text that is no list of pairs. */
export function labelsOf(text: string): Record<string, string> | undefined {
  const labels: Record<string, string> = {};
  for (const pair of listOf(text)) {
    const at = pair.indexOf('=');
    if (at < 1) return undefined;
    labels[pair.slice(0, at).trim()] = pair.slice(at + 1).trim();
  }
  return labels;
}

export const listOf = (text: string): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

/** Returns a body with indents; a body that is no JSON as it is. */
export function indented(body: string): string {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
