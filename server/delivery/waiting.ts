import type { Scope, StoredEvent } from '../event-log/contract/log.ts';

/**
 * How readers (the server's side of subscriptions) wait at the head of the log. Each reader waits for one topic, and the
 * `Notifier` finds the readers of an event by the topics of the event. A reader waits in one of two ways:
 *
 * - As a {@link Waiter}: the notifier wakes the reader with the position of the event, and the reader reads the log itself.
 * - In a fan-out group, if the reader has a {@link Filter}: the group sends the event to the client.
 */

/** The part of a reader that the notifier uses. */
export interface WaitingReader {
  /** Position of the last message to the client. */
  lastSentSeq: number;
  /** Time of the last message to the client, by `performance.now()`. */
  lastSentAt: number;
  /** Checked before waking: otherwise events that the caller may not read would still cause reads of the log. */
  maySee(record: StoredEvent): boolean;
}

/** Which events of its topic a reader accepts. Filters with equal keys accept the same events. */
export type Filter = { key: string; accepts: (record: StoredEvent) => boolean };

/**
 * Why a reader is woken: `seq` is the position of the first event for the reader, `tick` ends the quiet interval, `access`
 * makes the reader check its access and its epoch again.
 */
export type Wake = { seq: number } | 'tick' | 'access';

export type Waiter = {
  readonly topic: string;
  readonly reader: WaitingReader;
  readonly wake: (wake: Wake) => void;
};

type TopicKind = Scope['kind'] | 'id' | 'nothing';
/** The kind of a topic is the first word of its name. */
export const kindOf = (topic: string): TopicKind => topic.split(' ', 1)[0] as TopicKind;

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
  /** For a reader without access: no event has this topic. */
  nothing: 'nothing',
};
