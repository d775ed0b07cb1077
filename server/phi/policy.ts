import type { ReadyDraft } from '../event-log/contract/log.ts';

export type PhiPolicy = 'reject' | 'redact';
/**
 * Looks at a checked draft before it is logged. Returns it, or one with what it must not say replaced; throws a
 * `RunwireError` with the `path` to refuse it. Any other throw refuses it too.
 */
export type Guard = (draft: ReadyDraft, policy: PhiPolicy) => ReadyDraft;
/** Whether a guard would refuse a draft for an id, which is never redacted. */
export function isRefused(guard: Guard, id: string): boolean {
  try {
    guard({ type: 'run.started', runId: id } as never, 'redact');
    return false;
  } catch {
    return true;
  }
}
