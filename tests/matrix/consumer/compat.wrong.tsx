import { ConnectionState, type StageProgressEvent, useRunEvents } from 'runwire/compat/react';

/** Each use is wrong: it must not compile. */

export function Wrong({ event }: { event: StageProgressEvent }) {
  // @ts-expect-error: an id is a string
  const { subscribe } = useRunEvents({ runId: 1 });
  // @ts-expect-error: a handler is a function
  subscribe('stage.progress', 'log');
  // @ts-expect-error: no such state
  if (ConnectionState.PAUSED) return null;
  // @ts-expect-error: the time is a text
  return event.timestamp.getTime();
}
