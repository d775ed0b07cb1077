import type { Scope, StoredEvent } from '../event-log/contract/log.ts';

/**
 * What a reader waits for. Each waiting reader has one topic, and the {@link Notifier} looks up only the topics of an event.
 * A reader waits in one of two ways:
 *
 * - As a {@link Waiter}: the notifier wakes it with the position of the event, and the reader reads the log itself.
 * - In a fan-out group, if it has a {@link Filter}: the notifier sends it the event.
 */

/** The part of a reader that the notifier uses. */
export interface WaitingReader {
  /** The position of the last message to the client, and its time on the clock of `performance.now()`. */
  lastSentSeq: number;
  lastSentAt: number;
  /** Checked before waking: otherwise events that the caller may not read would still cost it a log read. */
  maySee(record: StoredEvent): boolean;
}

/** Readers of one topic with equal keys accept the same records. */
export type Filter = { key: string; accepts: (record: StoredEvent) => boolean };

/** Why a reader wakes: the first event for it, the quiet interval, or a check of its access. */
export type Wake = { seq: number } | 'tick' | 'access';

export type Waiter = {
  readonly topic: string;
  readonly reader: WaitingReader;
  readonly wake: (wake: Wake) => void;
};

export const topicOf = {
  scope(scope: Scope): string {
    switch (scope.kind) {
      case 'all':
        return 'all';
      case 'project':
        return `project ${scope.projectId}`;
      case 'run':
        return `run ${scope.projectId} ${scope.runId}`;
      case 'user':
        return `user ${scope.userId}`;
    }
  },
  /** For a reader that does not know the project of its run yet. */
  runId: (runId: string) => `id ${runId}`,
  /** No event has this topic. */
  nothing: 'nothing',
};
