import type { RunView, Stage } from '../../../hooks/index.ts';
import { Duration, None, Status } from '../../components/Status.tsx';
import { formatDateTime, formatPercent } from '../../lib/format.ts';
import { ArtifactRows } from './Artifacts.tsx';
import { shownStatus } from './axis.ts';

/** The details of the stage that the query of the URL selects. */
export function StagePanel({ run, stage, onClose }: { run: RunView; stage: Stage; onClose: () => void }) {
  const { stageId, name, attempt, progress, startedAt, endedAt, durationMs, message, error } = stage;
  const artifacts = run.artifacts.filter((artifact) => artifact.stageId === stageId);
  const shown = shownStatus(stage, run.endedAt !== undefined);
  return (
    <section className="stage-panel" aria-labelledby="stage">
      <div className="section-title">
        <h2 id="stage">{name}</h2>
        <button type="button" onClick={onClose} aria-label={`Close ${name}`}>
          Close
        </button>
      </div>
      {name !== stageId && <p className="ids">{stageId}</p>}
      <dl>
        <div>
          <dt>Status</dt>
          <dd>
            <Status value={shown} />
          </dd>
        </div>
        <div>
          <dt>Progress</dt>
          <dd>{progress > 0 ? formatPercent(progress) : <None />}</dd>
        </div>
        <div>
          <dt>Attempt</dt>
          <dd>
            {attempt}
            {attempt > 1 && <span className="soft"> (earlier attempts: see Events)</span>}
          </dd>
        </div>
        <div>
          <dt>Started</dt>
          <dd>{startedAt === undefined ? <None /> : formatDateTime(startedAt)}</dd>
        </div>
        <div>
          <dt>Duration</dt>
          <dd>
            <Duration
              startedAt={startedAt}
              endedAt={endedAt ?? (stage.status === 'running' ? run.endedAt : undefined)}
              durationMs={durationMs}
            />
          </dd>
        </div>
      </dl>
      {error && (
        <p className="failure">
          {error.message} {error.code !== undefined && <code>{error.code}</code>}
        </p>
      )}
      {message !== undefined && (
        <p>
          <span className="soft">Latest message: </span>
          <samp>{message}</samp>
        </p>
      )}
      {artifacts.length > 0 && <ArtifactRows artifacts={artifacts} caption={`Artifacts of ${name}`} />}
    </section>
  );
}
