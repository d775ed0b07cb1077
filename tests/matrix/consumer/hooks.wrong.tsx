import { RunwireProvider, useRun, useRunEvents, useRuns } from 'runwire/hooks';

/** Each use is wrong: it must not compile. */

export function Wrong() {
  // @ts-expect-error: a run has an id
  useRun({ projectId: 'trials' });
  // @ts-expect-error: an id is a string
  useRun({ runId: 1 });
  // @ts-expect-error: no such status
  useRuns({ status: ['sleeping'] });
  // @ts-expect-error: no such option
  useRunEvents({ runId: 'run-1', form: 'start' });
  // @ts-expect-error: no such type of event
  useRunEvents({ runId: 'run-1', types: ['stage.finished'] });
  const { subscribe, phase } = useRunEvents({ runId: 'run-1' });
  // @ts-expect-error: no such type of event
  subscribe('stage.finished', () => undefined);
  // @ts-expect-error: the event of a handler is that of its type
  subscribe('stage.failed', (event) => event.progress);
  // @ts-expect-error: no such phase
  if (phase === 'paused') return null;
  // @ts-expect-error: a URL is a string
  return <RunwireProvider url={8080} />;
}
