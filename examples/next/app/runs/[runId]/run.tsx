'use client';

import { useRun } from 'runwire/hooks';

export function Run({ runId }: { runId: string }) {
  const { run, phase } = useRun({ runId });
  return (
    <section aria-label="Run">
      <h1>
        {run?.name}: {run?.status}
      </h1>
      <p role="status">{phase}</p>
      <ol>
        {run?.stages.map(({ stageId, name, status }) => (
          <li key={stageId}>
            {name}: {status}
          </li>
        ))}
      </ol>
      <ul>
        {run?.artifacts.map(({ artifactId, name }) => (
          <li key={artifactId}>{name}</li>
        ))}
      </ul>
    </section>
  );
}
