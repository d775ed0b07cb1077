import { useEffect } from 'react';
import {
  RunwireProvider,
  type RunwireProviderProps,
  useConnection,
  useRun,
  useRunEvents,
  useRuns,
} from 'runwire/hooks';

function RunList() {
  const { runs, newCount, showNew } = useRuns({ status: ['running', 'waiting'] });
  return (
    <>
      {newCount > 0 && (
        <button type="button" onClick={showNew}>
          {newCount} new
        </button>
      )}
      <ul>
        {runs.map((run) => (
          <li key={run.runId}>
            {run.name}: {run.progress.toFixed(0)} %
          </li>
        ))}
      </ul>
    </>
  );
}

function Run({ runId }: { runId: string }) {
  const { run, events, phase, subscribe } = useRunEvents({ runId, from: 'start' });
  useEffect(() => subscribe('stage.failed', (event) => console.log(event.error.message, event.seq + 1)), [subscribe]);
  const single = useRun({ runId });
  return (
    <p>
      {run?.status ?? 'no status'} ({phase}), {events.length} events, {single.run?.stages.length ?? 0} stages
    </p>
  );
}

function Status() {
  const { state, error, reconnect } = useConnection();
  return state === 'failed' ? (
    <button type="button" onClick={reconnect}>
      {error?.message}
    </button>
  ) : (
    <p>{state}</p>
  );
}

export const App = (props: RunwireProviderProps) => (
  <RunwireProvider {...props}>
    <Status />
    <RunList />
    <Run runId="run-1" />
  </RunwireProvider>
);
