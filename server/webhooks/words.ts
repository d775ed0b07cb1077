/** The sentences about events in the messages of the shapes Slack and Teams. */

/** `facts`: a line below the detail. `link`: text of the link. */
export type Words = { title: string; detail?: string | undefined; facts?: string | undefined; link?: string };

const MAX_DETAIL = 1_000;

type Fields = {
  type: string;
  stageId?: string;
  name?: string;
  title?: string;
  summary?: string;
  message?: string;
  reason?: string;
  comment?: string;
  progress?: number;
  decidedBy?: string;
  expired?: boolean;
  actor?: string;
  requestedBy?: string;
  requiredApprovals?: number;
  expiresAt?: string;
  fromSeq?: number;
  toSeq?: number;
  error?: { message?: string };
};

const sentences: Record<string, (event: Fields) => Words> = {
  'run.created': () => ({ title: 'Run created' }),
  'run.started': () => ({ title: 'Run started' }),
  'run.completed': ({ summary }) => ({ title: 'Run completed', detail: summary }),
  'run.failed': ({ error }) => ({ title: 'Run failed', detail: error?.message }),
  'stage.started': ({ name, stageId }) => ({ title: `Stage started: ${name ?? stageId}` }),
  'stage.progress': ({ stageId, progress, message }) => ({
    title: `Stage ${stageId}${progress === undefined ? '' : `: ${Math.round(progress)} %`}`,
    detail: message,
  }),
  'stage.completed': ({ stageId }) => ({ title: `Stage completed: ${stageId}` }),
  'stage.failed': ({ stageId, error }) => ({ title: `Stage failed: ${stageId}`, detail: error?.message }),
  'artifact.created': ({ name }) => ({ title: `Artifact: ${name}` }),
  'governance.required': (event) => ({
    title: `Approval needed: ${event.title}`,
    detail: event.reason,
    facts: termsOf(event),
    link: 'Review',
  }),
  'approval.granted': ({ decidedBy, comment }) => ({ title: `Approved by ${decidedBy}`, detail: comment }),
  'approval.denied': ({ decidedBy, reason, expired }) =>
    expired
      ? { title: 'Approval expired: nobody decided in time' }
      : { title: `Denied by ${decidedBy}`, detail: reason },
  'stream.gap': ({ reason, fromSeq, toSeq }) => ({
    title: `Events ${fromSeq}–${toSeq} of the log cannot be sent`,
    detail:
      reason === 'expired'
        ? 'Retention has removed them. Look at the runs in Runwire.'
        : 'The log was put back from a backup. Events that you have may not exist any more.',
  }),
  'webhook.test': () => ({ title: 'Test from Runwire', detail: 'This webhook works.' }),
};

export function wordsOf(event: object): Words {
  const fields = event as Fields;
  const sentence = Object.hasOwn(sentences, fields.type) ? sentences[fields.type] : undefined;
  const { title, detail, ...more } = sentence?.(fields) ?? { title: fields.type };
  return { ...more, title: cut(title, 150), detail: detail === undefined ? undefined : cut(detail, MAX_DETAIL) };
}

/** The requester, the number of approvals, and the expiry of a request. */
function termsOf({ actor, requestedBy = actor, requiredApprovals = 1, expiresAt }: Fields): string {
  const count = requiredApprovals === 1 ? '1 approval' : `${requiredApprovals} approvals`;
  const expiry = expiresAt === undefined ? 'no expiry' : `expires ${expiresAt.slice(0, 16).replace('T', ' ')} UTC`;
  return `Asked by ${requestedBy} · needs ${count} · ${expiry}`;
}

/** Cuts a text at a number of UTF-16 units, and never inside a character. */
export const cut = (text: string, max: number): string =>
  text.length <= max ? text : `${text.slice(0, max - 1).replace(/[\ud800-\udbff]$/, '')}…`;
