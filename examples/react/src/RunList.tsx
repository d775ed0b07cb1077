import { useRuns } from './runwire.ts';

export function RunList({ onSelect }: { onSelect(runId: string): void }) {
  const { runs, error, newCount, showNew, hasNextPage, fetchNextPage } = useRuns({ projectId: 'models' });
  return (
    <section aria-label="Runs">
      {error && <p role="alert">{error.message}</p>}
      {newCount > 0 && (
        <button type="button" onClick={showNew}>
          {newCount} new
        </button>
      )}
      <ul>
        {runs.map(({ runId, name, status, progress }) => (
          <li key={runId}>
            <button type="button" onClick={() => onSelect(runId)}>
              {name}: {status}, {Math.round(progress)} %
            </button>
          </li>
        ))}
      </ul>
      {hasNextPage && (
        <button type="button" onClick={fetchNextPage}>
          More
        </button>
      )}
    </section>
  );
}
