import type { Approval, Artifact, InboxApproval, RunView } from '../../../hooks/index.ts';

/** The state of an approval card, what changed under the reader's eyes, and the texts of both. Without components. */

/** The server's answer on whether the user can decide an approval. */
export type Rights = Pick<InboxApproval, 'canDecide' | 'cannotDecide'>;

export type CardState =
  | 'open'
  /** The server has not answered yet whether the user can decide. */
  | 'loading'
  /** The page shows the run as it was. */
  | 'past'
  | 'decided'
  | 'expired'
  | 'run over'
  | 'elsewhere'
  | 'you approved'
  | 'asked by you'
  | 'read-only';

type Facts = {
  approval: Approval;
  run: Pick<RunView, 'endedAt'>;
  rights: Rights | undefined;
  /** Unix ms by the server's clock. */
  nowMs: number;
  isPast: boolean;
};

/** Returns the state of a card. The server answers who may decide; until when is also known to the page. */
export function stateOf({ approval, run, rights, nowMs, isPast }: Facts): CardState {
  if (approval.status !== 'pending') return outcomeStateOf(approval);
  if (run.endedAt !== undefined) return 'run over';
  if (hasExpired(approval, nowMs)) return 'expired';
  if (approval.authority === 'producer') return 'elsewhere';
  if (isPast) return 'past';
  if (!rights) return 'loading';
  if (rights.canDecide) return 'open';
  switch (rights.cannotDecide) {
    case 'already_approved':
      return 'you approved';
    case 'asked_by_you':
      return 'asked by you';
    case 'producer':
      return 'elsewhere';
    case 'decided':
    case 'expired':
    case 'run_over':
      return 'loading'; // The event that states the outcome arrives in a moment.
    default:
      return 'read-only';
  }
}

const hasExpired = ({ expiresAt }: Approval, nowMs: number) =>
  expiresAt !== undefined && Date.parse(expiresAt) <= nowMs;

/** An approval expires at its time, and when its run ends first. */
function outcomeStateOf({ status, expiresAt, decidedAt }: Approval): CardState {
  if (status !== 'expired') return 'decided';
  const isDue = expiresAt !== undefined && decidedAt !== undefined && Date.parse(decidedAt) >= Date.parse(expiresAt);
  return isDue ? 'expired' : 'run over';
}

/** True while a decision of somebody could still change the outcome. */
export const isOpenState = (state: CardState): boolean => !['decided', 'expired', 'run over'].includes(state);

/** True if the user may deny: one denial denies, also after the own approval. */
export const mayDeny = (state: CardState): boolean => state === 'open' || state === 'you approved';

export const grantsOf = ({ decisions }: Pick<Approval, 'decisions'>): Approval['decisions'] =>
  decisions.filter(({ decision }) => decision === 'granted');

/** `1 of 2 approvals`. */
export const quorumOf = (approval: Approval): string =>
  `${grantsOf(approval).length} of ${approval.requiredApprovals} ${approval.requiredApprovals === 1 ? 'approval' : 'approvals'}`;

/** An artifact of the evidence; `artifact` is undefined until it is published. */
export type Evidence = { artifactId: string; artifact: Artifact | undefined };

export const evidenceOf = (approval: Approval, artifacts: readonly Artifact[]): Evidence[] =>
  (approval.evidence ?? []).map((artifactId) => ({
    artifactId,
    artifact: artifacts.find((one) => one.artifactId === artifactId),
  }));

/** What a reader has seen of an approval, and up to which event. */
export type Seen = {
  approval: Approval;
  evidence: readonly Evidence[];
  /** Position in the log up to which the page was complete. */
  seq: number;
  /** Last event of the run up to there. */
  runSeq: number;
};

export type Change = {
  what: string;
  before: string;
  after: string;
  /** The URI of changed evidence. */
  uri?: string | undefined;
};

/** Lists what changed in the terms of an approval and in its evidence. */
export function changesBetween(before: Seen, after: Pick<Seen, 'approval' | 'evidence'>): Change[] {
  const terms = (['title', 'reason', 'requiredApprovals', 'expiresAt', 'requiredRole'] as const).flatMap((name) => {
    const [old, now] = [before.approval[name], after.approval[name]].map((value) => String(value ?? 'none'));
    return old === now ? [] : [{ what: termNames[name], before: `${old}`, after: `${now}` }];
  });
  const evidence = after.evidence.flatMap((now): Change[] => {
    const old = before.evidence.find(({ artifactId }) => artifactId === now.artifactId);
    if (old && contentOf(old) === contentOf(now)) return [];
    const [was, is] = describeChange(old?.artifact, now.artifact);
    const what = now.artifact?.name ?? now.artifactId;
    return [{ what, before: was, after: is, uri: now.artifact?.uri }];
  });
  return [...evidence, ...terms];
}

/** The other users that have approved since. A decision of a user is no change of what is asked. */
export const approvedSince = (before: Seen, after: Pick<Seen, 'approval'>, sub: string | undefined): string[] =>
  grantsOf(after.approval)
    .map(({ decidedBy }) => decidedBy)
    .filter((user) => user !== sub && !grantsOf(before.approval).some(({ decidedBy }) => decidedBy === user));

const termNames = {
  title: 'Title',
  reason: 'Reason',
  requiredApprovals: 'Approvals needed',
  expiresAt: 'Expiry',
  requiredRole: 'Role needed',
} as const;

function contentOf({ artifact }: Evidence): string {
  if (!artifact) return '';
  const { name, kind, uri, sizeBytes, sha256, createdAt } = artifact;
  return JSON.stringify([name, kind, uri, sizeBytes, sha256, createdAt]);
}

/** Describes both versions of an artifact by the fields that differ. */
function describeChange(old: Artifact | undefined, now: Artifact | undefined): [string, string] {
  const fields = [
    (one: Artifact) => one.name,
    (one: Artifact) => (one.sizeBytes === undefined ? 'no size' : `${one.sizeBytes.toLocaleString('en-US')} B`),
    (one: Artifact) => (one.sha256 === undefined ? 'no hash' : `sha256 ${shortHash(one.sha256)}`),
    (one: Artifact) => one.uri ?? 'no link',
    (one: Artifact) => one.kind ?? 'no kind',
  ];
  const differing = old && now ? fields.filter((field) => field(old) !== field(now)) : fields.slice(1, 3);
  if (old && now && differing.length === 0) return ['published before', 'published again'];
  const textOf = (one: Artifact | undefined) =>
    one ? differing.map((field) => field(one)).join(' · ') : 'not published yet';
  return [textOf(old), textOf(now)];
}

export const shortHash = (sha256: string): string => `${sha256.slice(0, 12)}…`;

/** Joins names as `a`, `a and b`, `a, b and c`. */
export function listed(names: readonly string[]): string {
  const last = names.at(-1) ?? '';
  return names.length < 2 ? last : `${names.slice(0, -1).join(', ')} and ${last}`;
}

const phiKinds: Record<string, string> = {
  ssn: 'a social security number',
  phone: 'a telephone number',
  fax: 'a fax number',
  email: 'an e-mail address',
  mrn: 'a medical record number',
  plan: 'a health plan number',
  account: 'an account number',
  licence: 'a licence number',
  vehicle: 'a vehicle number',
  device: 'a device number',
  date: 'a date of a person',
  ip: 'an IP address',
  name: 'a name of a person',
  address: 'an address',
  zip: 'a postal code',
  secret: 'a password or a key',
};

/** Returns the sentence for a text that the guard refused. Its message names the kind: `comment: looks like … : phone (shape)`. */
export function refusedTextOf(message: string, field: 'comment' | 'reason'): string {
  const kind = /protected information: (\w+)/.exec(message)?.[1] ?? '';
  const what = Object.hasOwn(phiKinds, kind) ? phiKinds[kind] : 'protected information';
  return `Your ${field} seems to hold ${what}. Take it out; it was not stored.`;
}

/** Returns the time that is left: `2 d`, `14 h`, `44 min`, and below a minute `42 s`. */
export function formatLeft(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.floor(hours / 24)} d`;
  return hours >= 24 || minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
}

type CommandKey = { projectId: string; runId: string; approvalId: string };

/**
 * Returns a shell command that approves what the reader has seen, for a terminal with a token. Ids are quoted: they may hold
 * any ASCII character.
 */
export function commandOf(origin: string, { projectId, runId, approvalId }: CommandKey, seenSeq: number): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const body = JSON.stringify({ projectId, runId, approvalId, seenSeq });
  return `curl -X POST ${quoted(`${origin}/trpc/approval.grant`)} -H "Authorization: Bearer $RUNWIRE_TOKEN" -H 'Content-Type: application/json' -d ${quoted(body)}`;
}
