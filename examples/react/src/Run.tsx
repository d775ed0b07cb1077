import { useRun, useRunEvents } from './runwire.ts';

export function Run({ runId }: { runId: string }) {
  const { run, error, phase } = useRun({ runId });
  const { events } = useRunEvents({ runId, types: ['epoch.finished'], from: 'start' });
  if (!run) return <p>{error?.message ?? 'Loading'}</p>;
  return (
    <section aria-label="Run">
      <h2>
        {run.name}: {run.status} ({phase})
      </h2>
      <progress max={100} value={run.progress} />
      <ol>
        {run.stages.map(({ stageId, name, status }) => (
          <li key={stageId}>
            {name}: {status}
          </li>
        ))}
      </ol>
      <ul>
        {events.map(({ eventId, epoch, accuracy }) => (
          <li key={eventId}>
            Epoch {epoch}: {Math.round(accuracy * 100)} %
          </li>
        ))}
      </ul>
    </section>
  );
}
