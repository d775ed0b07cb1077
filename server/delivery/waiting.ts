import type { Scope, StoredEvent } from '../event-log/contract/log.ts';

/** What the bell has to know of a reader. */
export interface Waiting {
  /** What it has told its client of last: a position, and when, on the clock of `performance.now()`. */
  lastSentSeq: number;
  lastSentAt: number;
  /** By the rights that it goes by: each look at the log for what is not the caller's would cost as much as one for what is. */
  maySee(record: StoredEvent): boolean;
}

/**
 * What readers that wait under the same key of the bell may have in common: those of the same `key` are sent the same
 * records, all that are `accepted`.
 */
export type Filter = { key: string; accepts: (record: StoredEvent) => boolean };
/**
 * Finds whom an event concerns by what they wait for, and asks no one else. Those who wait alone are woken: a ring says
 * "from this position on", and what happened they read from the log. Those who wait in a group are sent the event itself.
 */
/** Why a reader woke: the position of the first event that concerns it, or something other than an event. */
export type Wake = { seq: number } | 'tick' | 'access';
export const topicOf = {
  of(scope: Scope): string {
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
  /** For a reader that does not know its run's project yet. */
  runId: (runId: string) => `id ${runId}`,
  /** Is never rung. */
  nothing: 'nothing',
};

export type Waiter = {
  readonly key: string;
  readonly reader: Waiting;
  readonly wake: (wake: Wake) => void;
};
