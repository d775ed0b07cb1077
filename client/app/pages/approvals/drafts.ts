import type { ApprovalKey, DecisionInput } from '../../../hooks/index.ts';

/**
 * Keeps the text of an unsent decision while the user is signed out, for this tab alone: a sign-in may load another page. The
 * text of another user is removed unread.
 */
export type Draft = ApprovalKey & { sub: string; decision: DecisionInput['decision']; text: string };

const KEY = 'runwire:decision';

export function keepDraft(draft: Draft): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(draft));
  } catch {
    // The browser denies access to its storage, or it is full: the text lasts until the page closes.
  }
}

/** Returns the kept text of a user for an approval. */
export function readDraft(sub: string, key: ApprovalKey): Draft | undefined {
  try {
    const draft = JSON.parse(sessionStorage.getItem(KEY) ?? 'null') as Draft | null;
    if (draft && draft.sub !== sub) dropDraft();
    const isOf =
      draft?.sub === sub &&
      draft.projectId === key.projectId &&
      draft.runId === key.runId &&
      draft.approvalId === key.approvalId;
    return isOf ? draft : undefined;
  } catch {
    return undefined;
  }
}

export function dropDraft(): void {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // The browser denies access to its storage.
  }
}
