import { useState } from 'react';
import { type RunView, type UseRunReturn, useRun } from '../../../react/index.tsx';
import { Notice, Problem, Skeleton } from '../../components/Notice.tsx';
import { Shell } from '../../components/Shell.tsx';
import { useKeys } from '../../hooks/useKeys.ts';
import { codeOf } from '../../lib/errors.ts';
import { Link, ParamLink, setParams, useParams } from '../../lib/navigation.tsx';
import { Approvals } from './Approvals.tsx';
import { Artifacts } from './Artifacts.tsx';
import { EventFeed } from './EventFeed.tsx';
import { RunSummary } from './RunSummary.tsx';
import { StagePanel } from './StagePanel.tsx';
import { Timeline } from './Timeline.tsx';
import { Waiting } from './Waiting.tsx';

export function RunPage({ projectId, runId }: { projectId: string; runId: string }) {
  const live = useRun({ projectId, runId });
  const { run, status, error, reconnect } = live;
  const line = useLine(live);
  return (
    <Shell title={run ? `${run.name} · ${run.status}` : runId} continuity={live}>
      {run ? (
        <Run run={run} line={line} />
      ) : status === 'pending' && !error ? (
        <Skeleton>Loading the run</Skeleton>
      ) : codeOf(error) === 'RUN_NOT_FOUND' || !error ? (
        <Notice title="Nothing of this run yet">
          <p>
            Either <code>{runId}</code> has not begun, and will show up here as soon as it does, or it is in a project
            that your token does not cover. Check the address, or <Link href="/">go to all runs</Link>.
          </p>
        </Notice>
      ) : (
        <Problem error={error} onRetry={reconnect} />
      )}
    </Shell>
  );
}

/**
 * Counts the logs that the run has been read from: events of another one, or of an older copy of it, are others. It goes on
 * with the run itself. At the gap that run is still the old one: events that it names would be looked for in the new log,
 * where they are not, and taken for events that are not kept any more.
 */
function useLine({ gap, phase }: UseRunReturn): number {
  const [line, setLine] = useState({ gap, count: 0 });
  if (phase !== 'gap' && gap !== line.gap) {
    const isOther = gap?.reason === 'epoch_changed' || gap?.reason === 'ahead';
    setLine({ gap, count: line.count + Number(isOther) });
  }
  return line.count;
}

function Run({ run, line }: { run: RunView; line: number }) {
  const stageId = useParams().get('stage');
  const stage = stageId === null ? undefined : run.stages.find((one) => one.stageId === stageId);
  const close = () => {
    // The panel is about to go, and would take the focus along.
    const panel = document.activeElement?.closest('.stage-panel');
    const row = panel && (document.querySelector('.selected a') ?? document.querySelector('.timeline'));
    if (row instanceof HTMLElement) row.focus();
    setParams({ stage: undefined });
  };
  useKeys(stage ? { Escape: close } : {});
  return (
    <div className="run-page">
      <RunSummary run={run} />
      <Waiting run={run} />
      <div className="panes">
        <div className="pane">
          <Timeline run={run} />
          {stageId !== null && !stage && (
            <p role="status">
              There is no stage “{stageId}” in this run. <ParamLink params={{ stage: undefined }}>Show none</ParamLink>
            </p>
          )}
          {stage && <StagePanel run={run} stage={stage} onClose={close} />}
          {run.approvals.length > 0 && <Approvals run={run} />}
          {run.artifacts.length > 0 && <Artifacts artifacts={run.artifacts} stages={run.stages} />}
        </div>
        <EventFeed key={line} run={run} />
      </div>
    </div>
  );
}
