import { useState } from 'react';
import { type RunView, type UseRunReturn, useRun } from '../../../hooks/index.ts';
import { Notice, Problem, Skeleton } from '../../components/Notice.tsx';
import { Shell } from '../../components/Shell.tsx';
import { useKeys } from '../../hooks/useKeys.tsx';
import { codeOf } from '../../lib/errors.ts';
import { Link, ParamLink, setParams, useParams } from '../../lib/navigation.tsx';
import { EventFeed } from './EventFeed.tsx';
import { Overview } from './Overview.tsx';
import { RunApprovals } from './RunApprovals.tsx';
import { RunSummary } from './RunSummary.tsx';
import { RunTabs } from './RunTabs.tsx';
import { StagePanel } from './StagePanel.tsx';
import { Timeline } from './Timeline.tsx';
import '../../styles/pages/run.css';
import '../../styles/pages/overview.css';
import '../../styles/pages/timeline.css';
import '../../styles/pages/feed.css';

export function RunPage({ projectId, runId }: { projectId: string; runId: string }) {
  const live = useRun({ projectId, runId });
  const { run, status, error, reconnect } = live;
  const logCount = useLogCount(live);
  return (
    <Shell title={run ? `${run.name} · ${run.status}` : runId} continuity={live}>
      {run ? (
        <Run run={run} logCount={logCount} />
      ) : status === 'pending' && !error ? (
        <Skeleton>Loading the run</Skeleton>
      ) : codeOf(error) === 'RUN_NOT_FOUND' || !error ? (
        <Notice title={`Run “${runId}” has not started`}>
          <p>
            This page fills by itself as soon as the first event of the run arrives. If you followed a link, check that
            it is complete and that your token covers project “{projectId}”, or <Link href="/">go to Runs</Link>.
          </p>
        </Notice>
      ) : (
        <Problem error={error} onRetry={reconnect} />
      )}
    </Shell>
  );
}

/**
 * Counts the event logs that the run was read from. The server may restart with another log or with an older copy of the
 * log, which has other events at the same positions. The event list then drops its events: the count is its React key.
 *
 * The count changes only when the new run is loaded (the phase `gap` ends). Before that, the page still shows the old run,
 * and the event list would look for the old run's events in the new log.
 */
function useLogCount({ gap, phase }: UseRunReturn): number {
  const [counted, setCounted] = useState({ gap, count: 0 });
  if (phase !== 'gap' && gap !== counted.gap) {
    const isOther = gap?.reason === 'epoch_changed' || gap?.reason === 'ahead';
    setCounted({ gap, count: counted.count + Number(isOther) });
  }
  return counted.count;
}

function Run({ run, logCount }: { run: RunView; logCount: number }) {
  const stageId = useParams().get('stage');
  const stage = stageId === null ? undefined : run.stages.find((one) => one.stageId === stageId);
  const close = () => {
    // Removing the panel would lose the focus. So a focus in the panel first moves to the row of the stage.
    const panel = document.activeElement?.closest('.stage-panel');
    const row = panel && (document.querySelector('.selected a') ?? document.querySelector('.timeline'));
    if (row instanceof HTMLElement) row.focus();
    setParams({ stage: undefined });
  };
  useKeys(stage ? { Escape: { does: 'Close the stage', act: close } } : {});
  const panel = stage ? (
    <StagePanel run={run} stage={stage} onClose={close} />
  ) : stageId === null ? null : (
    <p className="stage-panel" role="status">
      There is no stage “{stageId}” in this run. <ParamLink params={{ stage: undefined }}>Clear</ParamLink>
    </p>
  );
  return (
    <div className="run-page">
      <RunSummary run={run} />
      <RunApprovals run={run} />
      <RunTabs
        run={run}
        overview={
          <Overview
            run={run}
            timeline={<Timeline run={run} />}
            panel={panel}
            events={<EventFeed key={logCount} run={run} />}
          />
        }
      />
    </div>
  );
}
