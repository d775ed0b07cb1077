import { useCallback, useMemo, useRef, useState } from 'react';
import { RunwireError } from '../../shared/errors.ts';
import { newEventId } from '../../shared/event-id.ts';
import type { RunEventDraft } from '../../shared/events.ts';
import { runwireErrorOf } from '../errors.ts';
import { retryLoading } from '../feeds/subscription.ts';
import { useRunwire } from './context.ts';

/** Result of `usePublish`. `publish` takes one draft, or 1 to 1,000 of them, all or none. */
export type UsePublishReturn<Draft = RunEventDraft> = {
  /**
   * Publishes 1 to 1,000 drafts, all or none, after the drafts of earlier calls. Resolves once they are durable. Without an
   * answer of the server, the request is repeated; the server stores each draft once. Rejects with a `RunwireError` if the
   * server refuses a draft, and with `UNAVAILABLE` if the user changes or the connection is closed before. A provider closes
   * the connection that it created when it is unmounted.
   *
   * Code may ignore the promise: `error` then has the error.
   */
  publish(drafts: Draft | readonly Draft[]): Promise<{ accepted: number; duplicates: number; seq: number }>;
  /** True while drafts wait for the server's answer. */
  isPublishing: boolean;
  /** Why the last finished call failed; null if it succeeded. */
  error: RunwireError | null;
};

/**
 * Returns a function that publishes events as the signed-in user, who needs the role `producer`. For a service that
 * publishes much, `createPublisher` of `runwire/publisher` puts many calls into one request.
 */
export function usePublish(): UsePublishReturn {
  const { client, feeds } = useRunwire();
  const last = useRef<Promise<unknown>>(Promise.resolve());
  const [waiting, setWaiting] = useState(0);
  const [error, setError] = useState<RunwireError | null>(null);

  const publish = useCallback<UsePublishReturn['publish']>(
    (drafts) => {
      const events = eventsOf(Array.isArray(drafts) ? drafts : [drafts]);
      const send = async () => {
        if (events instanceof RunwireError) throw events;
        const ended = new AbortController();
        const forget = feeds.whenEnded(() => ended.abort());
        try {
          const { signal } = ended;
          // The requests of an ended scope fail without being sent.
          return await retryLoading(() => client.event.publish.mutate({ events }, { signal }), signal);
        } catch (caught) {
          throw feeds.isEnded
            ? new RunwireError('UNAVAILABLE', 'the user changed, or the provider was unmounted, before an answer')
            : runwireErrorOf(caught);
        } finally {
          forget();
        }
      };
      setWaiting((count) => count + 1);
      const result = last.current.then(send, send);
      last.current = result;
      const settle = (failure: RunwireError | null) => {
        setWaiting((count) => count - 1);
        setError(failure);
      };
      result.then(() => settle(null), settle);
      return result;
    },
    [client, feeds],
  );
  return useMemo(() => ({ publish, isPublishing: waiting > 0, error }), [publish, waiting, error]);
}

/** Returns copies of drafts with a time and an id, or the refusal of drafts that JSON cannot represent. */
function eventsOf(drafts: readonly unknown[]): RunEventDraft[] | RunwireError {
  const timestamp = new Date().toISOString();
  try {
    const copies: unknown[] = JSON.parse(JSON.stringify(drafts));
    return copies.map((draft) => ({ timestamp, eventId: newEventId(), ...Object(draft) }));
  } catch (cause) {
    return new RunwireError('INVALID_EVENT', 'events: cannot be converted to JSON', { path: 'events', cause });
  }
}
