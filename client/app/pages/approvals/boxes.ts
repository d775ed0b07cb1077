import type { ApprovalKey, InboxApproval } from '../../../hooks/index.ts';

/** The boxes of the inbox, the order of their rows, and the address of an approval. */

export const boxes = ['mine', 'asked', 'decided', 'expired'] as const;
export type Box = (typeof boxes)[number];

export const boxNames: Record<Box, string> = {
  mine: 'Waiting for me',
  asked: 'Asked by me',
  decided: 'Decided',
  expired: 'Expired',
};

/** The value of the parameter `a`. Each id is encoded, since ids may hold a slash. */
export const addressOf = ({ projectId, runId, approvalId }: ApprovalKey): string =>
  [projectId, runId, approvalId].map(encodeURIComponent).join('/');

export function keyOfAddress(address: string | null): ApprovalKey | undefined {
  try {
    const [projectId, runId, approvalId, ...rest] = (address ?? '').split('/').map(decodeURIComponent);
    return projectId && runId && approvalId && rest.length === 0 ? { projectId, runId, approvalId } : undefined;
  } catch {
    return undefined; // The percent-encoding is invalid.
  }
}

/** Sorts the rows of a box: what waits by its expiry, soonest first, then by age; the rest newest decision first. */
export function sorted(box: Box, approvals: readonly InboxApproval[]): InboxApproval[] {
  const expiry = ({ expiresAt }: InboxApproval) => expiresAt ?? '~';
  const age = ({ requestedAt }: InboxApproval) => requestedAt;
  const decision = ({ decidedAt, requestedAt }: InboxApproval) => decidedAt ?? requestedAt;
  // All instants have one format and compare as text.
  const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  return [...approvals].sort((a, b) =>
    box === 'mine' ? compare(expiry(a), expiry(b)) || compare(age(a), age(b)) : compare(decision(b), decision(a)),
  );
}

/** True if an approval has the text in its title, run, project or requester. */
export function matches({ title, runName, runId, projectId, requestedBy }: InboxApproval, text: string): boolean {
  const wanted = text.trim().toLowerCase();
  return [title, runName, runId, projectId, requestedBy].some((one) => one?.toLowerCase().includes(wanted));
}
